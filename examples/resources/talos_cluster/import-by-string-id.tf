import {
  provider = metal
  to       = talos_cluster.lab
  id       = "lab"
}
