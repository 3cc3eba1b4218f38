import {
  to = metal_server.r1_u1
  id = "mac:52:54:00:aa:bb:01"
}
