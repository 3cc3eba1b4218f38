locals {
  cluster = {
    secrets_id         = talos_secrets.lab.id
    endpoint           = "https://10.0.0.10:6443"
    kubernetes_version = "v1.36.3"
  }
  nodes = {
    cp-0 = { role = "controlplane", server = "r1-u1" }
    w-0  = { role = "worker", server = "r1-u2" }
  }
}

resource "talos_secrets" "lab" {
  provider      = metal
  name          = "lab"
  talos_version = "v1.13.9"
}

resource "metal_image" "this" {
  talos_version = "v1.13.9"
}

resource "metal_server_claim" "n" {
  for_each  = local.nodes
  name      = "lab/${each.key}"
  server_id = each.value.server
  wipe      = { method = "quick", disks = "all" }
}

resource "talos_machine_config" "n" {
  for_each     = local.nodes
  provider     = metal
  cluster      = local.cluster
  name         = each.key
  role         = each.value.role
  server_id    = metal_server_claim.n[each.key].server_id
  image_id     = metal_image.this.id
  install_disk = { type = "nvme" }
}

# Bootstraps etcd once, and waits until every node runs.
resource "talos_cluster" "lab" {
  provider = metal
  cluster  = local.cluster
  nodes    = { for name, config in talos_machine_config.n : name => config.node }
  wait_for = { kubernetes = "talos" }
}
