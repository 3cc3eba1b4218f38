# The server's name, or `mac:`, `uuid:`, `serial:`, `bmc:` or `address:` and the value that it has.
terraform import metal_server.r1_u1 mac:52:54:00:aa:bb:01
