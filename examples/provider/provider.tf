terraform {
  required_providers {
    metal = { source = "metal/metal" }
  }
}

# One bootd. `bootd init` wrote the bundle; METAL_BUNDLE_FILE names it, too.
provider "metal" {
  bundle_file = "admin.bundle"
}
