import {
  provider = metal
  to       = talos_secrets.lab
  id       = "lab"
}
