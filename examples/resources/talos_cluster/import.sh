# The cluster's name.
terraform import talos_cluster.lab lab
