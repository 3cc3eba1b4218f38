-- The SMBIOS UUID that the agent reported: which machine a BMC's GUID means. Filled when a machine is stored next.
ALTER TABLE machines ADD COLUMN smbios TEXT;
CREATE INDEX machines_smbios ON machines (smbios) WHERE smbios IS NOT NULL;
