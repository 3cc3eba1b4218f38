# The secrets' name.
terraform import talos_secrets.lab lab
