//! The way from the root of a block to one value, as messages name it: `bmc.address`, `disks[0].size`, `labels["rack"]`.

use std::fmt;

use crate::model::Name;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// An attribute of an object.
    Attribute(String),
    /// An element of a map.
    Key(String),
    /// An element of a list.
    Index(u64),
}

/// The way to a value. Elements of sets have no path: the path of the set stands for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Step>);

impl Path {
    /// The block itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// An attribute of the block.
    #[must_use]
    pub fn attribute(name: impl AsRef<str>) -> Self {
        Self::root().attr(name)
    }

    /// An attribute of the object here.
    #[must_use]
    pub fn attr(self, name: impl AsRef<str>) -> Self {
        self.step(Step::Attribute(name.as_ref().to_owned()))
    }

    /// An element of the list here.
    #[must_use]
    pub fn index(self, index: u64) -> Self {
        self.step(Step::Index(index))
    }

    /// An element of the map here.
    #[must_use]
    pub fn key(self, key: impl AsRef<str>) -> Self {
        self.step(Step::Key(key.as_ref().to_owned()))
    }

    /// This path and then the other.
    #[must_use]
    pub fn join(mut self, rest: &Self) -> Self {
        self.0.extend_from_slice(&rest.0);
        self
    }

    /// The steps, outermost first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The object that holds what an attribute's path leads to; none for other paths.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.split_last() {
            Some((Step::Attribute(_), rest)) => Some(Self(rest.to_vec())),
            Some((Step::Key(_) | Step::Index(_), _)) | None => None,
        }
    }

    /// The attribute of the block that the path starts with.
    #[must_use]
    pub fn first_attribute(&self) -> Option<&str> {
        match self.0.first() {
            Some(Step::Attribute(name)) => Some(name),
            Some(Step::Key(_) | Step::Index(_)) | None => None,
        }
    }

    fn step(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}

impl<T> From<Name<T>> for Path {
    fn from(name: Name<T>) -> Self {
        Self::attribute(name.name())
    }
}

impl From<&str> for Path {
    fn from(name: &str) -> Self {
        Self::attribute(name)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Attribute(name) if i == 0 => f.write_str(name)?,
                Step::Attribute(name) => write!(f, ".{name}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
                Step::Index(at) => write!(f, "[{at}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_hcl() {
        let path = Path::attribute("disks").index(0).attr("labels").key("a b");
        assert_eq!(path.to_string(), r#"disks[0].labels["a b"]"#);
        assert_eq!(path.first_attribute(), Some("disks"));
    }
}
