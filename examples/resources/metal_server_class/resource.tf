# Boxes of one product with two large NVMe disks, not those that are kept for tests.
resource "metal_server_class" "storage" {
  name = "storage"
  match = {
    manufacturer = "Dell*"
    memory       = "64GB..512GB"
    cpu_cores    = ">= 16"
    disks        = [{ type = "nvme", size = ">= 1TB", count = ">= 2" }]
    labels       = { purpose = "!test" }
  }
}
