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

variable "cluster" {
  description = "The cluster's name."
  type        = string
  default     = "solo"
}

variable "accepted" {
  description = "Whether the boxes may be written to."
  type        = bool
  default     = true
}

variable "wipe_disks" {
  description = "Which disks are erased when the claim is given back: \"all\" or \"written\"."
  type        = string
  default     = "all"
}

variable "allow_wipe" {
  description = "Serials of disks with foreign data that may be erased."
  type        = list(string)
  default     = []
}

variable "create_timeout" {
  description = "How long the install may take."
  type        = string
  default     = "45m"
}
