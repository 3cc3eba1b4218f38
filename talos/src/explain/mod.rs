//! The inverse of rendering: which arguments and which smallest patches would give a config that runs already.
//!
//! Promises: rendering what is returned gives a config that means the same as the one that was read; that is checked
//! before it is returned, not assumed. Where an argument can say something, no patch does. No secret of the bundle
//! ends up in an argument or patch. Not here: comments and the order of documents, which a config does not keep.

mod patches;
pub(crate) mod read;

use crate::config::{GenerateError, MachineConfig};
use crate::diff::{Document, documents, same, written};
use crate::layer::{Layer, LayerError, Peers};
use crate::patch::{PatchError, apply};
use crate::secrets::Bundle;
use crate::version::{Contract, Generator};

/// A config as arguments and patches.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The layout: as given, or the newest in which the config needs the least patches.
    pub contract: Contract,
    /// The arguments.
    pub layer: Layer,
    /// What no argument says, in order.
    pub patches: Vec<String>,
}

impl Explained {
    /// The config that the arguments and patches give.
    ///
    /// # Errors
    /// What rendering or patching refuses; never for a value that [`explain`] returned with the same bundle.
    pub fn render(
        &self,
        generator: Generator,
        bundle: &Bundle,
    ) -> Result<MachineConfig, LayerError> {
        let peers = Peers::default();
        let config = self
            .layer
            .render(generator, self.contract, bundle, &peers)?;
        if self.patches.is_empty() {
            return Ok(config);
        }
        apply(generator, &config, &self.patches).map_err(LayerError::Patch)
    }
}

/// Why a config cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// Not a config.
    #[error("{0}")]
    Config(PatchError),
    /// A part without which there is nothing to explain.
    #[error("the config lacks {0}; only a node's complete config can be explained")]
    Missing(&'static str),
    /// The config's secrets are not the bundle's.
    #[error(
        "{0} of the config is not the one of the secrets; import the secrets from a control plane of this cluster"
    )]
    Secrets(String),
    /// The inputs of generation that it would need are refused.
    #[error("no contract gives this config: {0}")]
    Generate(GenerateError),
    /// Arguments and patches cannot say it.
    #[error("no patch makes {0} what it is; keep this config with base_config")]
    Irreproducible(String),
}

/// Explains a node's complete config.
///
/// # Errors
/// It is no complete config, it has other secrets than the bundle, or no patch can make it.
pub fn explain(
    generator: Generator,
    config: &MachineConfig,
    bundle: &Bundle,
    contract: Option<Contract>,
) -> Result<Explained, ExplainError> {
    let target = documents(generator, config).map_err(ExplainError::Config)?;
    let contracts: Vec<Contract> = match contract {
        Some(contract) => vec![contract],
        None => generator.contracts().collect(),
    };
    let source = read::Source::new(&target);
    let workshop = Workshop {
        generator,
        bundle,
        target: &target,
    };
    // The layout decides most of the difference: only where it is equally near are the arguments read.
    let mut starts = Vec::new();
    let mut refused = None;
    for contract in contracts {
        let layer = read::base(&source, contract)?;
        match workshop.render(contract, &layer) {
            Ok(rendered) => starts.push(workshop.attempt(contract, layer, rendered)),
            Err(error) => refused = Some(error),
        }
    }
    let nearest = starts.iter().map(|s| s.cost).min();
    let best = starts
        .into_iter()
        .filter(|s| Some(s.cost) == nearest)
        .map(|start| workshop.read(&source, start))
        .reduce(|best, other| if other.cost <= best.cost { other } else { best });
    let Some(best) = best else {
        return Err(match refused {
            Some(LayerError::Generate(error)) => ExplainError::Generate(error),
            Some(LayerError::Patch(error)) => ExplainError::Config(error),
            Some(LayerError::Arguments(_)) | None => ExplainError::Missing("a contract"),
        });
    };
    let patches = patches::between(generator, &best.rendered, &target)?;
    let explained = Explained {
        contract: best.contract,
        layer: best.layer,
        patches,
    };
    let again = explained.render(generator, bundle);
    let again = again.ok().and_then(|c| documents(generator, &c).ok());
    match again
        .as_deref()
        .map(|again| first_difference(again, &target))
    {
        Some(None) => Ok(explained),
        Some(Some(document)) => Err(ExplainError::Irreproducible(document)),
        None => Err(ExplainError::Irreproducible("the config".to_owned())),
    }
}

/// What one contract makes of it.
struct Attempt {
    contract: Contract,
    layer: Layer,
    rendered: Vec<Document>,
    /// Values that patches must still say.
    cost: usize,
}

/// What all attempts share.
struct Workshop<'a> {
    generator: Generator,
    bundle: &'a Bundle,
    target: &'a [Document],
}

impl Workshop<'_> {
    fn render(&self, contract: Contract, layer: &Layer) -> Result<Vec<Document>, LayerError> {
        let peers = Peers::default();
        let config = layer.render(self.generator, contract, self.bundle, &peers)?;
        Ok(written(&config))
    }

    fn attempt(&self, contract: Contract, layer: Layer, rendered: Vec<Document>) -> Attempt {
        Attempt {
            contract,
            cost: patches::cost(&rendered, self.target),
            layer,
            rendered,
        }
    }

    /// An argument stays only where it says something that a patch would have to say otherwise.
    fn read(&self, source: &read::Source<'_>, mut best: Attempt) -> Attempt {
        for read in read::SECTIONS {
            let mut layer = best.layer.clone();
            read(source, &mut layer);
            if layer == best.layer {
                continue;
            }
            let Ok(rendered) = self.render(best.contract, &layer) else {
                continue;
            };
            let next = self.attempt(best.contract, layer, rendered);
            if next.cost < best.cost {
                best = next;
            }
        }
        best
    }
}

/// The first document that differs, where one does.
fn first_difference(left: &[Document], right: &[Document]) -> Option<String> {
    let differs = |document: &&Document, others: &[Document]| {
        let other = others.iter().find(|o| o.key == document.key);
        !other.is_some_and(|other| same(&other.root, &document.root))
    };
    let missing = left.iter().find(|d| differs(d, right));
    let extra = right.iter().find(|d| differs(d, left));
    missing.or(extra).map(|d| d.key.to_string())
}

#[cfg(test)]
mod tests;
