data "metal_servers" "quarantined" {
  filter = { phases = ["quarantined", "failed"] }
}

output "look_at" {
  value = { for s in data.metal_servers.quarantined.servers : s.id => s.reason }
}
