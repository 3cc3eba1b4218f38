//! What callers declared of servers.

use bootd_core::id::MachineId;
use bootd_core::secret::Secret;
use metal_proto::metal::v1::ServerConfig;
use prost::Message as _;
use sqlx::Row as _;

use super::machines::{self, Identity, Record};
use super::{Result, Store, StoreError, now};

/// A declared server.
#[derive(Debug, Clone)]
pub struct ServerRow {
    /// The caller's words.
    pub config: ServerConfig,
    /// The BMC's password where it is not a named credential's.
    pub bmc_password: Option<Secret<String>>,
}

fn row_name(name: &str) -> String {
    format!("servers/{name}/bmc_password")
}

impl Store {
    /// A declared server.
    pub async fn server(&self, name: &str) -> Result<Option<ServerRow>> {
        let row = sqlx::query("SELECT config, bmc_password FROM servers WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.inner.pool)
            .await?;
        row.map(|row| self.server_row(name, row.get(0), row.get(1)))
            .transpose()
    }

    /// All declared servers by name.
    pub async fn servers(&self) -> Result<Vec<ServerConfig>> {
        let rows = sqlx::query("SELECT config FROM servers ORDER BY name")
            .fetch_all(&self.inner.pool)
            .await?;
        rows.iter()
            .map(|r| {
                ServerConfig::decode(r.get::<&[u8], _>(0))
                    .map_err(|_| StoreError::Damaged("servers"))
            })
            .collect()
    }

    fn server_row(&self, name: &str, config: &[u8], sealed: Option<&[u8]>) -> Result<ServerRow> {
        let config = ServerConfig::decode(config).map_err(|_| StoreError::Damaged("servers"))?;
        let bmc_password = match sealed {
            Some(sealed) => {
                let open = self.seal().open(&row_name(name), sealed)?;
                let text = String::from_utf8(open.into_exposed())
                    .map_err(|_| StoreError::Damaged("servers"))?;
                Some(Secret::new(text))
            }
            None => None,
        };
        Ok(ServerRow {
            config,
            bmc_password,
        })
    }

    /// Declares a server. A machine that was met before under a name of our own making gets the declared name.
    /// `apply` brings the declaration into the machine's record.
    pub(crate) async fn declare(
        &self,
        config: &ServerConfig,
        identity: Identity,
        bmc_password: Option<Secret<String>>,
        apply: impl FnOnce(&mut Record, &mut machines::Journal),
    ) -> Result<()> {
        let id = MachineId(config.name.clone());
        let sealed = bmc_password.map(|p| {
            self.seal()
                .seal(&row_name(&config.name), p.expose().as_bytes())
        });
        self.write(async |db| {
            if machines::load(db, &id).await?.is_none() {
                match machines::find(db, &identity).await? {
                    Some(met) => rename(db, &met, &id).await?,
                    None => {
                        machines::save(db, &Record::new(id.clone(), identity.clone(), now()))
                            .await?;
                    }
                }
            }
            sqlx::query(
                "INSERT INTO servers (name, config, bmc_password) VALUES (?, ?, ?) \
                 ON CONFLICT (name) DO UPDATE SET config = excluded.config, bmc_password = coalesce(excluded.bmc_password, bmc_password)",
            )
            .bind(&config.name)
            .bind(config.encode_to_vec())
            .bind(sealed)
            .execute(&mut *db)
            .await?;
            machines::change(db, &id, |record, journal| {
                record.identity = identity;
                apply(record, journal);
            })
            .await?;
            Ok(())
        })
        .await?;
        self.repopulate();
        self.waker(&id).notify_one();
        Ok(())
    }
}

async fn rename(db: &mut sqlx::SqliteConnection, from: &MachineId, to: &MachineId) -> Result<()> {
    // A forgotten machine may have left its story under the name: this one's follows it.
    sqlx::query(
        "UPDATE timeline SET machine = ?, seq = seq + (SELECT coalesce(max(seq), 0) FROM timeline WHERE machine = ?) WHERE machine = ?",
    )
    .bind(&to.0)
    .bind(&to.0)
    .bind(&from.0)
    .execute(&mut *db)
    .await?;
    for statement in [
        "UPDATE facts SET machine = ? WHERE machine = ?",
        "UPDATE tokens SET machine = ? WHERE machine = ?",
        "UPDATE addresses SET machine = ? WHERE machine = ?",
        "UPDATE events SET machine = ? WHERE machine = ?",
    ] {
        sqlx::query(statement)
            .bind(&to.0)
            .bind(&from.0)
            .execute(&mut *db)
            .await?;
    }
    if let Some(mut record) = machines::load(db, from).await? {
        sqlx::query("DELETE FROM machines WHERE id = ?")
            .bind(&from.0)
            .execute(&mut *db)
            .await?;
        record.machine.id = to.clone();
        machines::save(db, &record).await?;
    }
    Ok(())
}
