# A lab: every box of the rack in the pool, a cluster of three control planes and two workers out of it.

terraform {
  required_providers {
    metal = { source = "metal/metal" }
  }
}

provider "metal" {
  bundle_file = var.bundle_file
}

resource "metal_server" "box" {
  for_each = var.boxes
  name     = each.key
  mac      = each.value.mac
  bmc = {
    address     = each.value.bmc
    port        = each.value.port
    protocol    = "ipmi"
    credentials = each.value.credentials
  }
  accepted = true
}

resource "metal_server_class" "any" {
  name    = "any"
  match   = { memory = ">= 8GB" }
  servers = [for s in metal_server.box : s.id]
}

resource "metal_image" "this" {
  talos_version = "v1.13.9"
}

resource "talos_secrets" "lab" {
  provider      = metal
  name          = "lab"
  talos_version = "v1.13.9"
}

locals {
  nodes = {
    cp-0 = "controlplane"
    cp-1 = "controlplane"
    cp-2 = "controlplane"
    w-0  = "worker"
    w-1  = "worker"
  }
  cluster = {
    secrets_id         = talos_secrets.lab.id
    endpoint           = "https://10.0.0.10:6443"
    kubernetes_version = "v1.36.3"
  }
}

resource "metal_server_claim" "n" {
  for_each        = local.nodes
  name            = "lab/${each.key}"
  server_class_id = metal_server_class.any.id
  wipe            = { method = "quick", disks = "all" }
}

resource "talos_machine_config" "n" {
  for_each     = local.nodes
  provider     = metal
  cluster      = local.cluster
  name         = each.key
  role         = each.value
  server_id    = metal_server_claim.n[each.key].server_id
  image_id     = metal_image.this.id
  install_disk = { type = "nvme", size = ">= 100GB" }
  network      = { vip = "10.0.0.10" }
}

resource "talos_cluster" "lab" {
  provider = metal
  cluster  = local.cluster
  nodes    = { for k, c in talos_machine_config.n : k => c.node }
  wait_for = { kubernetes = "talos" }
}
