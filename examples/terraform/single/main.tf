# The smallest cluster: one box, one control plane.

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
  accepted = var.accepted
}

resource "metal_server_class" "any" {
  name    = "${var.cluster}-any"
  match   = { memory = ">= 8GB" }
  servers = [for s in metal_server.box : s.id]
}

resource "metal_image" "this" {
  talos_version = "v1.13.9"
}

resource "talos_secrets" "this" {
  provider      = metal
  name          = var.cluster
  talos_version = "v1.13.9"
}

locals {
  cluster = {
    secrets_id         = talos_secrets.this.id
    endpoint           = "https://10.0.0.10:6443"
    kubernetes_version = "v1.36.3"
  }
}

resource "metal_server_claim" "cp" {
  name            = "${var.cluster}/cp"
  server_class_id = metal_server_class.any.id
  wipe            = { method = "quick", disks = var.wipe_disks }
  allow_wipe      = var.allow_wipe
}

resource "talos_machine_config" "cp" {
  provider     = metal
  cluster      = local.cluster
  name         = "cp"
  role         = "controlplane"
  server_id    = metal_server_claim.cp.server_id
  image_id     = metal_image.this.id
  install_disk = { type = "nvme" }
  timeouts     = { create = var.create_timeout }
}

resource "talos_cluster" "this" {
  provider = metal
  cluster  = local.cluster
  nodes    = { cp = talos_machine_config.cp.node }
  wait_for = { kubernetes = "talos" }
}
