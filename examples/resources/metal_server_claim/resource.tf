# Any free box of the class, away from the racks of the cluster's other nodes. Its disks are erased when the claim ends.
resource "metal_server_claim" "cp_0" {
  name            = "lab/cp-0"
  server_class_id = "storage"
  spread_by       = "rack"
  wipe            = { method = "quick", disks = "all" }
}

# This very box; one of its disks holds foreign data that may go, by serial number.
resource "metal_server_claim" "w_0" {
  name       = "lab/w-0"
  server_id  = "r1-u1"
  wipe       = { method = "full", disks = "written" }
  allow_wipe = ["S4EWNX0R123456"]
  timeouts   = { delete = "2h" }
}
