-- Append-only: a released file is never edited.

-- What a caller declared. The BMC password is sealed; its key is not in this database.
CREATE TABLE servers (
    name TEXT PRIMARY KEY,
    config BLOB NOT NULL,
    bmc_password BLOB
) STRICT;

-- What bootd knows of each machine, declared or not.
CREATE TABLE machines (
    id TEXT PRIMARY KEY,
    mac TEXT,
    uuid TEXT,
    serial TEXT,
    doc TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX machines_mac ON machines (mac) WHERE mac IS NOT NULL;
CREATE INDEX machines_uuid ON machines (uuid) WHERE uuid IS NOT NULL;
CREATE INDEX machines_serial ON machines (serial) WHERE serial IS NOT NULL;

-- Evidence of the present epoch; older epochs' rows are dropped when a phase is entered.
CREATE TABLE facts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    machine TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL,
    fact TEXT NOT NULL
) STRICT;
CREATE INDEX facts_machine ON facts (machine, epoch, seq);

-- One bounded story per machine.
CREATE TABLE timeline (
    machine TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    source TEXT NOT NULL,
    text TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    alarm INTEGER NOT NULL,
    PRIMARY KEY (machine, seq)
) STRICT, WITHOUT ROWID;

-- One box, one claim.
CREATE TABLE claims (
    name TEXT PRIMARY KEY,
    machine TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL,
    config BLOB NOT NULL,
    fit TEXT NOT NULL
) STRICT;

-- Survives its claim: the generation grows, and a slot likes to get its old box back.
CREATE TABLE slots (
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    machine TEXT NOT NULL
) STRICT;

-- Boot tokens by hash. Only the newest of a machine is good.
CREATE TABLE tokens (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    machine TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    source TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX tokens_machine ON tokens (machine, seq);

-- Which machine spoke last from an address.
CREATE TABLE addresses (
    address TEXT PRIMARY KEY,
    machine TEXT NOT NULL
) STRICT;

-- Pushed events that were seen, to drop repetitions.
CREATE TABLE events (
    machine TEXT NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (machine, id)
) STRICT, WITHOUT ROWID;

-- Classes, images, secrets, nodes, clusters, credentials: a caller's config, our status, and what must not be read off a disk.
CREATE TABLE docs (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    machine TEXT,
    config BLOB NOT NULL,
    status TEXT NOT NULL,
    sealed BLOB,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX docs_machine ON docs (machine) WHERE machine IS NOT NULL;
