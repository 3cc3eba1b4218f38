//! Documents by kind and name: the caller's config, our status, and a sealed part.

use bootd_core::id::MachineId;
use bootd_core::secret::Secret;
use sqlx::{Row as _, SqliteConnection};

use super::{Result, Store};

/// Kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `metal_server_class`.
    Class,
    /// `metal_image`.
    Image,
    /// `talos_secrets`; sealed: the bundle.
    Secrets,
    /// `talos_machine_config`; sealed: the rendered config.
    Node,
    /// `talos_cluster`.
    Cluster,
    /// A named BMC credential; sealed: the password.
    Credential,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Image => "image",
            Self::Secrets => "secrets",
            Self::Node => "node",
            Self::Cluster => "cluster",
            Self::Credential => "credential",
        }
    }
}

/// A document.
#[derive(Debug, Clone)]
pub struct Doc {
    /// Its name.
    pub name: String,
    /// The machine that it is bound to.
    pub machine: Option<MachineId>,
    /// The caller's config, encoded.
    pub config: Vec<u8>,
    /// Our status, JSON.
    pub status: String,
    /// The secret part.
    pub sealed: Option<Secret<Vec<u8>>>,
}

impl Doc {
    /// Without machine, status and secret.
    pub fn new(name: impl Into<String>, config: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            machine: None,
            config,
            status: String::new(),
            sealed: None,
        }
    }
}

fn row_name(kind: Kind, name: &str) -> String {
    format!("docs/{}/{name}/sealed", kind.name())
}

const COLUMNS: &str = "SELECT name, machine, config, status, sealed FROM docs WHERE kind = ?";

impl Store {
    /// One document.
    pub async fn doc(&self, kind: Kind, name: &str) -> Result<Option<Doc>> {
        let row = sqlx::query(&format!("{COLUMNS} AND name = ?"))
            .bind(kind.name())
            .bind(name)
            .fetch_optional(&self.inner.pool)
            .await?;
        row.map(|row| self.doc_of(kind, &row)).transpose()
    }

    /// All of a kind by name.
    pub async fn docs(&self, kind: Kind) -> Result<Vec<Doc>> {
        let rows = sqlx::query(&format!("{COLUMNS} ORDER BY name"))
            .bind(kind.name())
            .fetch_all(&self.inner.pool)
            .await?;
        rows.iter().map(|row| self.doc_of(kind, row)).collect()
    }

    /// The document of a kind that is bound to a machine.
    pub async fn doc_of_machine(&self, kind: Kind, machine: &MachineId) -> Result<Option<Doc>> {
        let row = sqlx::query(&format!("{COLUMNS} AND machine = ?"))
            .bind(kind.name())
            .bind(&machine.0)
            .fetch_optional(&self.inner.pool)
            .await?;
        row.map(|row| self.doc_of(kind, &row)).transpose()
    }

    fn doc_of(&self, kind: Kind, row: &sqlx::sqlite::SqliteRow) -> Result<Doc> {
        let name: String = row.get(0);
        let sealed = row
            .get::<Option<&[u8]>, _>(4)
            .map(|s| self.seal().open(&row_name(kind, &name), s))
            .transpose()?;
        Ok(Doc {
            machine: row.get::<Option<String>, _>(1).map(MachineId),
            config: row.get(2),
            status: row.get(3),
            sealed,
            name,
        })
    }

    /// Stores a document.
    pub async fn put_doc(&self, kind: Kind, doc: &Doc) -> Result<()> {
        self.write(async |db| self.save_doc(db, kind, doc).await)
            .await
    }

    /// Changes a document in one transaction; `false` where there is none.
    pub(crate) async fn change_doc(
        &self,
        kind: Kind,
        name: &str,
        work: impl FnOnce(&mut Doc),
    ) -> Result<bool> {
        self.write(async |db| {
            let row = sqlx::query(&format!("{COLUMNS} AND name = ?"))
                .bind(kind.name())
                .bind(name)
                .fetch_optional(&mut *db)
                .await?;
            let Some(mut doc) = row.map(|row| self.doc_of(kind, &row)).transpose()? else {
                return Ok(false);
            };
            work(&mut doc);
            self.save_doc(db, kind, &doc).await?;
            Ok(true)
        })
        .await
    }

    async fn save_doc(&self, db: &mut SqliteConnection, kind: Kind, doc: &Doc) -> Result<()> {
        let sealed = doc
            .sealed
            .as_ref()
            .map(|s| self.seal().seal(&row_name(kind, &doc.name), s.expose()));
        sqlx::query(
            "INSERT INTO docs (kind, name, machine, config, status, sealed) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (kind, name) DO UPDATE SET machine = excluded.machine, config = excluded.config, \
             status = excluded.status, sealed = excluded.sealed",
        )
        .bind(kind.name())
        .bind(&doc.name)
        .bind(doc.machine.as_ref().map(|m| &m.0))
        .bind(&doc.config)
        .bind(&doc.status)
        .bind(sealed)
        .execute(db)
        .await?;
        Ok(())
    }

    /// Drops a document; a missing one is fine.
    pub async fn drop_doc(&self, kind: Kind, name: &str) -> Result<()> {
        self.write(async |db| {
            sqlx::query("DELETE FROM docs WHERE kind = ? AND name = ?")
                .bind(kind.name())
                .bind(name)
                .execute(db)
                .await?;
            Ok(())
        })
        .await
    }
}
