//! Images: registered, fetched in the background, dropped.

use std::error::Error as _;

use metal_proto::metal::v1 as pb;
use prost::Message as _;

use super::Api;
use super::status::{ApiError, Story, no_such};
use crate::store::{Doc, Kind, StoreError};
use crate::talos::{image, installer};

impl Api {
    pub(super) async fn put_image(&self, config: pb::ImageConfig) -> Result<pb::Image, ApiError> {
        let (meant, schematic) = image(&config).map_err(|why| {
            Story::new("bad-image", "Image cannot be described")
                .detail(format!("{}: {why}.", config.name))
                .hint("correct the argument.")
                .at("talos_version")
                .invalid()
        })?;
        let id = meant.id();
        let words = config.encode_to_vec();
        // The id says what the image is; its name may change.
        let known = self
            .store
            .change_doc(Kind::Image, &id, |doc| doc.config.clone_from(&words))
            .await?;
        if !known {
            let doc = Doc::new(id.clone(), words);
            self.store.put_doc(Kind::Image, &doc).await?;
        }
        self.fetch(id.clone(), schematic.to_yaml());
        self.read_image(&id).await
    }

    /// In the background: the caller watches. A failure is kept in the image's status until the next Put.
    fn fetch(&self, id: String, schematic: String) {
        if self.images.cached(&id).is_some() {
            return;
        }
        let api = self.clone();
        tokio::spawn(async move {
            api.set_image_failure(&id, String::new()).await;
            let done = match api.images.register(&schematic).await {
                Ok(_) => api.images.ensure(&id).await.map(|_| ()),
                Err(error) => Err(error),
            };
            let failure = match done {
                Ok(()) => String::new(),
                Err(error) => {
                    let mut text = error.to_string();
                    let mut cause = error.source();
                    while let Some(inner) = cause {
                        text.push_str(&format!(": {inner}"));
                        cause = inner.source();
                    }
                    tracing::warn!(image = id, why = text, "image not fetched");
                    text
                }
            };
            api.set_image_failure(&id, failure).await;
        });
    }

    async fn set_image_failure(&self, id: &str, failure: String) {
        // Only the status is ours: the caller may state the image anew meanwhile.
        let stored = self
            .store
            .change_doc(Kind::Image, id, |doc| doc.status = failure)
            .await;
        if let Err(error) = stored {
            tracing::error!(image = id, %error, "the image's status was not stored");
        }
    }

    pub(super) async fn read_image(&self, id: &str) -> Result<pb::Image, ApiError> {
        let doc = self
            .store
            .doc(Kind::Image, id)
            .await?
            .ok_or_else(|| no_such("image", id))?;
        let config = pb::ImageConfig::decode(doc.config.as_slice())
            .map_err(|_| StoreError::Damaged("docs"))?;
        let (meant, _) = image(&config).map_err(|_| StoreError::Damaged("docs"))?;
        Ok(pb::Image {
            id: meant.id(),
            schematic_id: meant.schematic.to_string(),
            installer: installer(&meant),
            cached: self.images.cached(&meant.id()).is_some(),
            config: Some(config),
        })
    }

    pub(super) async fn delete_image(&self, id: &str) -> Result<pb::Empty, ApiError> {
        self.store.drop_doc(Kind::Image, id).await?;
        Ok(pb::Empty {})
    }
}
