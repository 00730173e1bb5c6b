//! Pages as gzip. A page that grows is several members one after the other, so that only what is new is
//! compressed; `zcat` reads it too.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Appends text to compressed text.
pub(crate) fn append(members: &mut Vec<u8>, text: &[u8]) -> io::Result<()> {
    let mut encoder = GzEncoder::new(members, Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()?;
    Ok(())
}

/// The first bytes of a text, at most so many: what is stored may be anything.
pub(crate) fn expand(members: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(members).take(most as u64).read_to_end(&mut text)?;
    Ok(text)
}
