# The same value for every node and for the cluster.
locals {
  cluster = {
    secrets_id         = "lab"
    endpoint           = "https://10.0.0.10:6443"
    kubernetes_version = "v1.36.3"
  }
}

resource "talos_machine_config" "cp_0" {
  provider     = metal
  cluster      = local.cluster
  name         = "cp-0"
  role         = "controlplane"
  server_id    = metal_server_claim.cp_0.server_id
  image_id     = metal_image.this.id
  install_disk = { type = "nvme", size = ">= 100GB" }
  network      = { vip = "10.0.0.10", nameservers = ["10.0.0.1"] }
  patches = [yamlencode({
    machine = { sysctls = { "vm.nr_hugepages" = "1024" } }
  })]
}

resource "metal_server_claim" "cp_0" {
  name      = "lab/cp-0"
  server_id = "r1-u1"
  wipe      = { method = "quick", disks = "all" }
}

resource "metal_image" "this" {
  talos_version = "v1.13.9"
}
