//! Images.

use metal_proto::metal::v1 as pb;
use tfplugin::Field;

use super::named;
use crate::client::{CallError, Client};
use crate::fields::{said, some, text, texts};
use crate::resource::image::schema::{Arch, Image};

/// Registers an image; the installer's reference comes back.
pub(crate) async fn put_image(client: &Client, image: &Image) -> Result<Field<String>, CallError> {
    client
        .put_image(config(image))
        .await
        .map(|i| said(i.installer))
}

/// The image as bootd has it; what means the same as in `prior` is left as written there.
pub(crate) async fn read_image(
    client: &Client,
    id: &str,
    prior: &Image,
) -> Result<Image, CallError> {
    let seen = client.read_image(named(id)).await?;
    let stated = seen.config.unwrap_or_default();
    let mut image = if stated == config(prior) {
        prior.clone()
    } else {
        declared(&stated)
    };
    image.id = said(seen.id);
    image.schematic_id = said(seen.schematic_id);
    image.installer = said(seen.installer);
    Ok(image)
}

pub(crate) async fn delete_image(client: &Client, id: &str) -> Result<(), CallError> {
    client.delete_image(named(id)).await.map(|_| ())
}

fn config(image: &Image) -> pb::ImageConfig {
    pb::ImageConfig {
        name: text(&image.name),
        talos_version: text(&image.talos_version),
        extensions: texts(&image.extensions),
        kernel_args: texts(&image.kernel_args),
        arch: image
            .arch
            .known()
            .copied()
            .unwrap_or(Arch::Amd64)
            .as_str()
            .to_owned(),
    }
}

fn declared(c: &pb::ImageConfig) -> Image {
    Image {
        name: said(c.name.clone()),
        talos_version: said(c.talos_version.clone()),
        extensions: some(c.extensions.clone()),
        kernel_args: some(c.kernel_args.clone()),
        arch: c.arch.parse::<Arch>().ok().into(),
        ..Image::default()
    }
}
