//! Creates the container in Azurite, which the archive's client cannot: Azure's Shared Key authorization.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{AZURE_ACCOUNT, AZURE_KEY, BUCKET};

const VERSION: &str = "2021-08-06";

pub(crate) async fn create(address: SocketAddr) {
    let date = now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let path = format!("/{AZURE_ACCOUNT}/{BUCKET}");
    // The method, eleven headers that are not sent, ours, and what is asked for.
    let signed = format!(
        "PUT{}x-ms-date:{date}\nx-ms-version:{VERSION}\n/{AZURE_ACCOUNT}{path}\nrestype:container",
        "\n".repeat(12)
    );
    let key = BASE64_STANDARD.decode(AZURE_KEY).unwrap();
    let signature = BASE64_STANDARD.encode(hmac(&key, signed.as_bytes()));
    let request = format!(
        "PUT {path}?restype=container HTTP/1.1\r\nhost: {address}\r\nx-ms-date: {date}\r\n\
         x-ms-version: {VERSION}\r\nauthorization: SharedKey {AZURE_ACCOUNT}:{signature}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[expect(clippy::disallowed_methods, reason = "Azurite refuses a request that is not of now")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// HMAC of SHA-256 (RFC 2104), for a key of at most a block.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36)).chain_update(text);
    let outer = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c));
    outer.chain_update(inner.finalize()).finalize().into()
}
