# Editing `talos_version` upgrades the nodes that use the image.
resource "metal_image" "this" {
  talos_version = "v1.13.9"
  extensions    = ["siderolabs/iscsi-tools", "siderolabs/util-linux-tools"]
  kernel_args   = ["console=ttyS0"]
}
