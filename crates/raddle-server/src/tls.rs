//! TLS for what listens and for our client: rustls with cryptography in Rust.
//!
//! Certificates are files in PEM. They are looked at again every now and then, so that
//! one that was renewed serves new connections without a restart; a pair that cannot
//! be used leaves the old one in place.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::error::{Error, Result};
use crate::log::{self, field};

/// Files of the server's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The server's certificate and those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM.
    pub key: PathBuf,
    /// Authorities whose certificates clients must show; nobody needs one without it.
    pub client_authority: Option<PathBuf>,
}

/// The server's side: configurations for both protocols.
pub struct Identity {
    settings: TlsSettings,
    acceptors: RwLock<Acceptors>,
    /// Contents of the files that were used or refused last.
    seen: Mutex<Vec<Vec<u8>>>,
}

#[derive(Clone)]
struct Acceptors {
    http: TlsAcceptor,
    grpc: TlsAcceptor,
}

impl Identity {
    /// Reads the files.
    ///
    /// ## Errors
    /// [`Error::File`] with the file that cannot be used, [`Error::Invalid`] where the
    /// processor cannot do the cryptography.
    pub fn open(settings: &TlsSettings) -> Result<Self> {
        let seen = contents(settings)?;
        let acceptors = acceptors(settings)?.into();
        Ok(Self { settings: settings.clone(), acceptors, seen: seen.into() })
    }

    /// What accepts connections in HTTP/2, or in HTTP/1.1.
    pub fn acceptor(&self, is_http2: bool) -> TlsAcceptor {
        let acceptors = self.acceptors.read().unwrap_or_else(PoisonError::into_inner);
        if is_http2 { acceptors.grpc.clone() } else { acceptors.http.clone() }
    }

    /// Takes the files if they have changed and can be used.
    pub fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = contents(&self.settings).and_then(|found| {
            if found == *seen {
                return Ok(None);
            }
            // A pair that is half written is looked at again when it has changed.
            *seen = found;
            acceptors(&self.settings).map(Some)
        });
        match taken {
            Ok(None) => {}
            Ok(Some(new)) => {
                *self.acceptors.write().unwrap_or_else(PoisonError::into_inner) = new;
                let path = self.settings.certificate.display();
                log::info("the certificate is renewed", &[field("file", path)]);
            }
            Err(error) => log::warn("the certificate was not renewed", &[field("why", error)]),
        }
    }
}

fn contents(settings: &TlsSettings) -> Result<Vec<Vec<u8>>> {
    let files = [Some(&settings.certificate), Some(&settings.key)];
    let files = files.into_iter().chain([settings.client_authority.as_ref()]).flatten();
    files.map(|path| std::fs::read(path).map_err(|why| Error::file(path, why))).collect()
}

fn acceptors(settings: &TlsSettings) -> Result<Acceptors> {
    let provider = provider()?;
    let certificates = certificates(&settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|why| Error::file(&settings.key, format!("no private key in PEM: {why}")))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|why| Error::invalid(format!("TLS: {why}")))?;
    let builder = match &settings.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|why| Error::file(path, why))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(certificates, key);
    let config = config.map_err(|why| Error::file(&settings.certificate, why))?;
    let speaking = |protocol: &[u8]| {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    };
    Ok(Acceptors { http: speaking(b"http/1.1"), grpc: speaking(b"h2") })
}

/// What a client trusts, and who it is.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts servers with a certificate of these authorities, or with this very one.
    ///
    /// ## Errors
    /// As [`Identity::open`].
    pub fn open(authority: &Path) -> Result<Self> {
        let roots = authorities(authority)?;
        let builder = ClientConfig::builder_with_provider(provider()?)
            .with_safe_default_protocol_versions()
            .map_err(|why| Error::invalid(format!("TLS: {why}")))?;
        Ok(Self(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }

    /// Makes a connection to a server of this name secret.
    ///
    /// ## Errors
    /// [`Error::Protocol`] if the server cannot be trusted.
    pub async fn connect(&self, stream: TcpStream, name: &str, is_http2: bool) -> Result<Stream> {
        let failed = |why: String| Error::Protocol(format!("no TLS with {name}: {why}"));
        let server = name.trim_matches(['[', ']']).to_owned();
        let server = ServerName::try_from(server).map_err(|why| failed(why.to_string()))?;
        let protocol: &[u8] = if is_http2 { b"h2" } else { b"http/1.1" };
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![protocol.to_vec()];
        let connected = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
        Ok(Stream::Tls(Box::new(connected.map_err(|why| failed(why.to_string()))?.into())))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found =
        read().map_err(|why| Error::file(path, format!("no certificates in PEM: {why}")))?;
    match found.is_empty() {
        true => Err(Error::file(path, "has no certificate in PEM")),
        false => Ok(found),
    }
}

fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|why| Error::file(path, why))?;
    }
    Ok(roots)
}

/// The cryptography; it is written for processors of the last ten years.
fn provider() -> Result<Arc<CryptoProvider>> {
    #[cfg(target_arch = "x86_64")]
    let missing = {
        let features = [
            ("aes", is_x86_feature_detected!("aes")),
            ("ssse3", is_x86_feature_detected!("ssse3")),
            ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("bmi2", is_x86_feature_detected!("bmi2")),
            ("adx", is_x86_feature_detected!("adx")),
        ];
        features.into_iter().find(|(_, is_there)| !is_there).map(|(name, _)| name)
    };
    #[cfg(not(target_arch = "x86_64"))]
    let missing: Option<&str> = None;
    match missing {
        Some(name) => Err(Error::invalid(format!(
            "TLS needs a processor with {name}; put the server behind a proxy that speaks TLS"
        ))),
        None => Ok(Arc::new(rustls_graviola::default_provider())),
    }
}

/// A connection, secret or plain.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
