import {
  to = metal_server_claim.cp_0
  id = "lab/cp-0"
}
