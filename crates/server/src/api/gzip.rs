//! Logs as gzip, piece by piece.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt, future, stream};
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// True when the caller can read gzip (RFC 9110 §12.5.3).
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let codings: Vec<(&str, bool)> = lists.flat_map(|list| list.split(',')).map(coding).collect();
    let of = |wanted: &[&str]| {
        let named = codings
            .iter()
            .find(|(name, _)| wanted.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)));
        named.map(|(_, accepted)| *accepted)
    };
    of(&["gzip", "x-gzip"]).or_else(|| of(&["*"])).unwrap_or(false)
}

/// A coding and whether it is wanted: a weight of 0 says that it is not.
fn coding(item: &str) -> (&str, bool) {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let weight = parameters.trim().strip_prefix(['q', 'Q']).map(str::trim_start);
    let weight = weight.and_then(|weight| weight.strip_prefix('='));
    let weight = weight.and_then(|weight| weight.trim().parse::<f32>().ok());
    (name.trim(), weight.is_none_or(|weight| weight > 0.0))
}

/// The same, compressed. Nothing more than deflate's window is kept.
pub(super) fn compressed<E: Send + 'static>(
    pieces: impl Stream<Item = Result<Vec<u8>, E>> + Send,
) -> impl Stream<Item = Result<Vec<u8>, E>> + Send {
    let with_end = pieces.map(Some).chain(stream::once(future::ready(None)));
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let compressed = with_end.scan(encoder, |encoder, piece| {
        future::ready(match piece {
            Some(Ok(piece)) => encoder.as_mut().map(|encoder| Ok(compress(encoder, &piece))),
            // What broke off is never made to look whole.
            Some(Err(error)) => encoder.take().map(|_| Err(error)),
            None => encoder.take().map(|encoder| Ok(encoder.finish().unwrap_or_default())),
        })
    });
    compressed.filter(|piece| future::ready(!matches!(piece, Ok(piece) if piece.is_empty())))
}

/// What comes out of the encoder when this goes in. A `Vec` takes everything.
fn compress(encoder: &mut GzEncoder<Vec<u8>>, piece: &[u8]) -> Vec<u8> {
    if encoder.write_all(piece).is_err() {
        return Vec::new();
    }
    std::mem::take(encoder.get_mut())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use futures::TryStreamExt;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("gzip, deflate, br", true)]
    #[case("br;q=1.0, GZIP;q=0.5", true)]
    #[case("*", true)]
    #[case("gzip;q=0", false)]
    #[case("*;q=0", false)]
    #[case("gzip;q=0, *", false)]
    #[case("identity", false)]
    #[case("", false)]
    fn who_accepts_it(#[case] value: &str, #[case] expected: bool) {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().unwrap())]);
        assert_eq!(is_accepted(&headers), expected);
    }

    #[tokio::test]
    async fn it_is_the_same_log() {
        let pieces: Vec<Vec<u8>> =
            (0..2_000).map(|n| format!("line {n} of the log\n").into_bytes()).collect();
        let whole = pieces.concat();
        let packed = compressed(stream::iter(pieces).map(Ok::<_, ()>));
        let packed: Vec<u8> = packed.try_concat().await.unwrap();
        assert!(packed.len() * 2 < whole.len(), "{} bytes", packed.len());
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == whole);
    }

    #[tokio::test]
    async fn a_log_that_broke_off_has_no_end() {
        let pieces = [Ok(b"half".to_vec()), Err("broke off"), Ok(b"never".to_vec())];
        let packed: Vec<_> = compressed(stream::iter(pieces)).collect().await;
        assert!(matches!(packed[..], [.., Err("broke off")]), "{packed:?}");
    }
}
