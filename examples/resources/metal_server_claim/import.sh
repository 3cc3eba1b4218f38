# `CLUSTER/NODE`.
terraform import metal_server_claim.cp_0 lab/cp-0
