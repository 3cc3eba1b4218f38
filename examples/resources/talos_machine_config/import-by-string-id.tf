import {
  provider = metal
  to       = talos_machine_config.cp_0
  id       = "lab/cp-0"
}
