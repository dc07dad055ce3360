//! Checks settings and models without serving them.

use crate::config::{ModelConfig, ServerSettings};
use crate::error::{Error, Result};
use crate::front::tokens;
use crate::model::{Backend, Source};
use crate::policy::Policy;
use crate::repository::Repository;
use crate::tls::Identity;

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it was.
    pub what: String,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// Checks the settings, and every model: its configuration, its files, its devices.
///
/// ## Errors
/// [`Error::File`] if the repository cannot be read at all.
pub fn check(settings: &ServerSettings, backend: &dyn Backend) -> Result<Vec<Finding>> {
    let finding = |what: String, result: Result<()>| Finding {
        what,
        problem: result.err().map(|error| error.to_string()),
    };
    let mut findings = vec![finding("the settings".into(), settings.check())];
    // Without rules that can be read there is nothing to hold models against.
    let policy = Policy::open(&settings.policy);
    let rules = policy.as_ref().map_err(Clone::clone);
    findings.push(finding(
        "the settings against the rules".into(),
        rules.and_then(|policy| policy.check_server(settings)),
    ));
    let policy = policy.ok();
    if let Some(path) = &settings.tokens_file {
        findings.push(finding(path.display().to_string(), tokens(path).map(drop)));
    }
    if let Some(tls) = &settings.tls {
        let what = tls.certificate.display().to_string();
        findings.push(finding(what, Identity::open(tls).map(drop)));
    }
    let repository = Repository::open(&settings.models, backend.file_names())?;
    for name in repository.names()? {
        match repository.find(&name) {
            Err(error) => findings.push(finding(format!("model {name}"), Err(error))),
            Ok(found) if found.wanted().is_empty() => {
                let why = Error::NotReady("no version".into());
                findings.push(finding(format!("model {name}"), Err(why)));
            }
            Ok(found) => {
                for version in found.wanted() {
                    let file = &found.versions[&version].0;
                    let checked = check_version(backend, &found.config, file);
                    let checked = checked.and_then(|(config, devices)| match &policy {
                        Some(policy) => policy.check_model(&settings.models, &config, &devices),
                        None => Ok(()),
                    });
                    findings.push(finding(format!("model {name} version {version}"), checked));
                }
            }
        }
    }
    Ok(findings)
}

fn check_version(
    backend: &dyn Backend,
    config: &ModelConfig,
    file: &crate::model::ModelFile,
) -> Result<(ModelConfig, Vec<String>)> {
    let mut config = config.clone();
    let name = config.name.clone();
    let source = Source { name: &name, version: file.version, file: &file.path, config: &config };
    let loaded = backend.load(&source).map_err(|source| Error::Model {
        model: name.clone(),
        version: file.version,
        source,
    })?;
    config.complete(loaded.signature())?;
    let devices: Vec<String> = backend.devices().into_iter().map(|it| it.name).collect();
    let placement = config.placement(&devices)?;
    Ok((config, placement))
}
