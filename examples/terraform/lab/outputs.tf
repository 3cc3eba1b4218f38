output "nodes" {
  description = "Which box each node runs on."
  value       = { for k, c in metal_server_claim.n : k => c.server_id }
}
