//! The model repository: folders in Triton's layout, or bare model files.
//!
//! `DIR/NAME/VERSION/model.onnx` with an optional `DIR/NAME/config.pbtxt`, or
//! `DIR/NAME.onnx` as version 1. Nothing outside of `DIR` is read: names are plain,
//! and links that lead out are refused.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::config::{ModelConfig, VersionPolicy};
use crate::error::{Error, Result};
use crate::model::ModelFile;

/// Name of a model's configuration.
const CONFIG: &str = "config.pbtxt";

/// A folder of models.
#[derive(Debug, Clone)]
pub struct Repository {
    root: PathBuf,
    file_names: Vec<String>,
}

/// A model as it lies on disk.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its configuration; the default if it has none.
    pub config: ModelConfig,
    /// All versions by number, with marks of their files that change when they do.
    pub versions: BTreeMap<u64, (ModelFile, u64)>,
    /// A mark of the configuration.
    pub config_mark: u64,
}

impl Found {
    /// The versions that the policy asks for.
    pub fn wanted(&self) -> Vec<u64> {
        let all = self.versions.keys().copied();
        match &self.config.version_policy {
            VersionPolicy::All => all.collect(),
            VersionPolicy::Specific(list) => all.filter(|it| list.contains(it)).collect(),
            VersionPolicy::Latest(count) => {
                let skipped = self.versions.len().saturating_sub(*count);
                all.skip(skipped).collect()
            }
        }
    }
}

impl Repository {
    /// A repository whose models are in files of these names.
    ///
    /// ## Errors
    /// [`Error::File`] if the folder is not there.
    pub fn open(root: &Path, file_names: &[&str]) -> Result<Self> {
        let root = root.canonicalize().map_err(|why| Error::file(root, why))?;
        if !root.is_dir() {
            return Err(Error::file(root, "the model repository is no folder"));
        }
        let file_names = file_names.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { root, file_names })
    }

    /// Names of all models that are there, in order.
    ///
    /// ## Errors
    /// [`Error::File`] if the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let list = std::fs::read_dir(&self.root).map_err(|why| Error::file(&self.root, why))?;
        let mut names = Vec::new();
        for entry in list {
            let path = entry.map_err(|why| Error::file(&self.root, why))?.path();
            let name = match path.is_dir() {
                true => path.file_name(),
                false if self.is_model_file(&path) => path.file_stem(),
                false => None,
            };
            let name = name.and_then(|name| name.to_str()).filter(|name| is_plain(name));
            names.extend(name.map(str::to_owned));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Looks at a model.
    ///
    /// ## Errors
    /// [`Error::UnknownModel`]; [`Error::File`] if its configuration is wrong.
    pub fn find(&self, name: &str) -> Result<Found> {
        let unknown = || Error::UnknownModel { model: name.into() };
        if !is_plain(name) {
            return Err(unknown());
        }
        let dir = self.root.join(name);
        if !dir.is_dir() {
            let bare =
                self.extensions().map(|extension| self.root.join(format!("{name}.{extension}")));
            let path = bare.into_iter().find(|path| path.is_file()).ok_or_else(unknown)?;
            self.check_inside(&path)?;
            let mark = mark(&[&path]);
            let config = ModelConfig { name: name.into(), ..ModelConfig::default() };
            let versions = BTreeMap::from([(1, (ModelFile { version: 1, path }, mark))]);
            return Ok(Found { config, versions, config_mark: 0 });
        }
        self.check_inside(&dir)?;
        let (config, config_mark) = self.config(name, &dir)?;
        let versions = self.versions(&dir, &config)?;
        Ok(Found { config, versions, config_mark })
    }

    fn config(&self, name: &str, dir: &Path) -> Result<(ModelConfig, u64)> {
        let path = dir.join(CONFIG);
        let mut config = ModelConfig::default();
        let mut mark = 0;
        if path.exists() {
            self.check_inside(&path)?;
            let text = std::fs::read_to_string(&path).map_err(|why| Error::file(&path, why))?;
            config = ModelConfig::from_text(&text, &path)?;
            if !config.name.is_empty() && config.name != name {
                return Err(Error::file(
                    path,
                    format!("name is {:?}, expected {name:?} as the folder", config.name),
                ));
            }
            mark = hash(&text);
        }
        config.name = name.into();
        Ok((config, mark))
    }

    fn versions(
        &self,
        dir: &Path,
        config: &ModelConfig,
    ) -> Result<BTreeMap<u64, (ModelFile, u64)>> {
        let mut versions = BTreeMap::new();
        let list = std::fs::read_dir(dir).map_err(|why| Error::file(dir, why))?;
        for entry in list {
            let path = entry.map_err(|why| Error::file(dir, why))?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
            let Some(version) = number.filter(|&number| number > 0 && path.is_dir()) else {
                continue;
            };
            let named = config.default_model_filename.as_slice();
            let names = if named.is_empty() { &self.file_names } else { named };
            if let Some(name) = names.iter().find(|name| !is_plain(name)) {
                return Err(Error::file(dir.join(CONFIG), format!("{name:?} is no file's name")));
            }
            let Some(file) = names.iter().map(|name| path.join(name)).find(|it| it.is_file())
            else {
                continue;
            };
            self.check_inside(&file)?;
            let beside = std::fs::read_dir(&path).map_err(|why| Error::file(&path, why))?;
            let mut files: Vec<PathBuf> = beside.flatten().map(|entry| entry.path()).collect();
            files.sort_unstable();
            let mark = mark(&files);
            versions.insert(version, (ModelFile { version, path: file }, mark));
        }
        Ok(versions)
    }

    fn extensions(&self) -> impl Iterator<Item = &str> {
        self.file_names.iter().filter_map(|name| name.rsplit_once('.').map(|(_, it)| it))
    }

    fn is_model_file(&self, path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|own| self.extensions().any(|known| known == own))
    }

    /// A link may lead to another place in the repository, and nowhere else.
    fn check_inside(&self, path: &Path) -> Result<()> {
        let real = path.canonicalize().map_err(|why| Error::file(path, why))?;
        match real.starts_with(&self.root) {
            true => Ok(()),
            false => Err(Error::file(path, "leads out of the model repository")),
        }
    }
}

/// Whether a name can be that of a model: no separators, no hidden files.
pub fn is_plain(name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.chars().all(is_part)
}

/// A mark that changes when one of the files does.
fn mark(files: &[impl AsRef<Path>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let file = file.as_ref();
        file.hash(&mut hasher);
        if let Ok(about) = file.metadata() {
            about.len().hash(&mut hasher);
            about.modified().ok().hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn models_are_found_in_both_layouts() {
        let scratch = Scratch::new("repository-layouts");
        for file in [
            "a/1/model.onnx",
            "a/10/model.onnx",
            "a/2/other.bin",
            "b.onnx",
            "c.txt",
            ".d/1/model.onnx",
        ] {
            touch(&scratch.path().join(file));
        }
        let repository = Repository::open(scratch.path(), &["model.onnx"]).unwrap();
        assert_eq!(repository.names().unwrap(), ["a", "b"]);
        let found = repository.find("a").unwrap();
        assert_eq!(found.versions.keys().copied().collect::<Vec<_>>(), [1, 10]);
        assert_eq!(found.wanted(), [10]);
        assert_eq!(repository.find("b").unwrap().wanted(), [1]);
        let policy = scratch.path().join("a/config.pbtxt");
        std::fs::write(policy, "version_policy { specific { versions: [1, 7] } }").unwrap();
        assert_eq!(repository.find("a").unwrap().wanted(), [1]);
    }

    #[test]
    fn marks_change_with_the_files() {
        let scratch = Scratch::new("repository-marks");
        touch(&scratch.path().join("a/1/model.onnx"));
        let repository = Repository::open(scratch.path(), &["model.onnx"]).unwrap();
        let mark = || repository.find("a").unwrap().versions[&1].1;
        let before = mark();
        assert_eq!(mark(), before);
        std::fs::write(scratch.path().join("a/1/model.onnx"), "longer").unwrap();
        assert_ne!(mark(), before);
    }

    #[test]
    fn nothing_outside_is_reached() {
        let scratch = Scratch::new("repository-escape");
        let (root, outside) = (scratch.path().join("models"), scratch.path().join("secret"));
        touch(&outside.join("1/model.onnx"));
        touch(&root.join("a/1/model.onnx"));
        std::os::unix::fs::symlink(&outside, root.join("b")).unwrap();
        let repository = Repository::open(&root, &["model.onnx"]).unwrap();
        for name in ["../secret", "a/..", "", ".", "..", "a\0", "a/1"] {
            let error = repository.find(name).unwrap_err();
            assert!(matches!(error, Error::UnknownModel { .. }), "{name}: {error}");
        }
        let error = repository.find("b").unwrap_err().to_string();
        assert!(error.contains("leads out of the model repository"), "{error}");
        std::fs::write(root.join("a/config.pbtxt"), "default_model_filename: '../../x'").unwrap();
        assert!(repository.find("a").unwrap_err().to_string().contains("no file's name"));
        std::fs::write(root.join("a/config.pbtxt"), "name: 'z'").unwrap();
        assert!(repository.find("a").unwrap_err().to_string().contains("expected \"a\""));
    }
}
