//! Pages as gzip. A page that grows is several members one after the other, so that only what is new is
//! compressed; `zcat` reads it too. The times of the lines are an extra field of each member's header
//! (RFC 1952, section 2.3.1.1).

use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use ompipe_core::archive::{TimedText, read_times};

/// What our field of a header is called.
const FIELD: [u8; 2] = *b"OT";
/// Most bytes of times in a header, which has 64 KiB for all its fields.
pub(crate) const MOST_TIMES: usize = 60_000;

/// Appends text to compressed text, with the times of its lines.
pub(crate) fn append(members: &mut Vec<u8>, text: &[u8], times: &[u8]) -> io::Result<()> {
    let mut builder = GzBuilder::new();
    if let Some(length) = u16::try_from(times.len()).ok().filter(|length| *length > 0) {
        builder = builder.extra([&FIELD[..], &length.to_le_bytes(), times].concat());
    }
    let mut encoder = builder.write(members, Compression::fast());
    io::Write::write_all(&mut encoder, text)?;
    encoder.finish()?;
    Ok(())
}

/// The first bytes of a text, at most so many: what is stored may be anything.
pub(crate) fn expand(mut members: &[u8], most: usize) -> io::Result<TimedText> {
    let mut read = TimedText::default();
    while !members.is_empty() && read.text.len() < most {
        let begin = read.text.len();
        let mut decoder = GzDecoder::new(members);
        if let Some(times) = decoder.header().and_then(|header| times_of(header.extra()?)) {
            read_times(times, begin, &mut read.times);
        }
        decoder.by_ref().take((most - begin) as u64).read_to_end(&mut read.text)?;
        members = decoder.into_inner();
    }
    Ok(read.part(0, most))
}

/// Our field among those of a header.
fn times_of(mut fields: &[u8]) -> Option<&[u8]> {
    loop {
        let (head, rest) = fields.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (field, others) = rest.split_at_checked(length)?;
        if head[..2] == FIELD {
            return Some(field);
        }
        fields = others;
    }
}

#[cfg(test)]
mod tests {
    use flate2::read::MultiGzDecoder;
    use ompipe_core::archive::TimesWriter;

    use super::*;

    #[test]
    fn members_are_one_text_with_times_and_plain_gzip() {
        let (mut members, mut times) = (Vec::new(), TimesWriter::default());
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        times.note(0, at(7));
        append(&mut members, b"one\n", &times.take()).unwrap();
        append(&mut members, b"two\n", &[]).unwrap();
        times.note(2, at(9));
        append(&mut members, b"- three\n", &times.take()).unwrap();
        let read = expand(&members, 100).unwrap();
        assert_eq!(read.text, b"one\ntwo\n- three\n");
        assert_eq!(read.times, [(0, at(7)), (10, at(9))]);
        assert_eq!(expand(&members, 6).unwrap().text, b"one\ntw");
        let mut plain = String::new();
        MultiGzDecoder::new(&members[..]).read_to_string(&mut plain).unwrap();
        assert_eq!(plain.as_bytes(), read.text);
    }
}
