# The BMC's login lies in bootd: `metalctl credentials set rack-1`.
resource "metal_server" "r1_u1" {
  name     = "r1-u1"
  mac      = "52:54:00:aa:bb:01"
  bmc      = { address = "10.0.8.1", protocol = "ipmi", credentials = "rack-1" }
  accepted = true
  labels   = { row = "a" }
  location = { site_row = "a", rack = "r1", unit = "1" }
}

# No BMC: bootd asks a person to press the power button.
resource "metal_server" "bench" {
  uuid     = "4c4c4544-0042-3510-8052-b4c04f564432"
  bmc      = { address = "10.0.8.9", protocol = "manual" }
  accepted = true
  idle     = "hold"
}
