import {
  to = metal_server_class.storage
  id = "storage"
}
