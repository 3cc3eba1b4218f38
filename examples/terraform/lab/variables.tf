variable "bundle_file" {
  description = "The admin.bundle that `bootd init` wrote."
  type        = string
}

variable "boxes" {
  description = "The servers: name => its boot MAC and its BMC. Credentials are named in bootd (`metalctl credentials set NAME`)."
  type = map(object({
    mac         = string
    bmc         = string
    port        = optional(number, 623)
    credentials = optional(string, "lab")
  }))
}
