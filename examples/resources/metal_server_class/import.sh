# The class's name.
terraform import metal_server_class.storage storage
