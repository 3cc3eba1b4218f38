//! Secrets: their names and fingerprints, never themselves.

use metal_proto::metal::v1 as pb;

use super::named;
use crate::client::{CallError, Client};
use crate::fields::{said, text};
use crate::resource::secrets::schema::Secrets;

pub(crate) async fn put_secrets(client: &Client, secrets: &Secrets) -> Result<Secrets, CallError> {
    let made = client.put_secrets(config(secrets)).await?;
    Ok(seen(made, secrets))
}

/// The secrets as bootd has them.
pub(crate) async fn read_secrets(client: &Client, prior: &Secrets) -> Result<Secrets, CallError> {
    let made = client.read_secrets(named(&text(&prior.name))).await?;
    let mut stated = prior.clone();
    if let Some(c) = &made.config
        && *c != config(prior)
    {
        stated.talos_version = said(c.talos_version.clone());
        stated.deletion_protection = c.deletion_protection.into();
    }
    Ok(seen(made, &stated))
}

pub(crate) async fn delete_secrets(client: &Client, secrets: &Secrets) -> Result<(), CallError> {
    client
        .delete_secrets(named(&text(&secrets.name)))
        .await
        .map(|_| ())
}

fn config(secrets: &Secrets) -> pb::SecretsConfig {
    pb::SecretsConfig {
        name: text(&secrets.name),
        talos_version: text(&secrets.talos_version),
        deletion_protection: secrets
            .deletion_protection
            .known()
            .copied()
            .unwrap_or_default(),
    }
}

fn seen(made: pb::Secrets, stated: &Secrets) -> Secrets {
    Secrets {
        id: stated.name.clone(),
        fingerprint: made.fingerprint.into(),
        contract: made.contract.into(),
        render_rev: made.render_rev.into(),
        ..stated.clone()
    }
}
