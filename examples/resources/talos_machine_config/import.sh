# `CLUSTER/NODE`.
terraform import talos_machine_config.cp_0 lab/cp-0
