# The keys stay in bootd; Terraform's state holds a fingerprint.
resource "talos_secrets" "lab" {
  provider            = metal
  name                = "lab"
  talos_version       = "v1.13.9"
  deletion_protection = true
}
