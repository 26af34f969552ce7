//! The first look at a stranger's bytes: it counts and bounds what is there, and allocates nothing.

use super::{DescriptorsError, MAX_DEPTH, Most, Result, malformed, shown};

/// What a part of the bytes encodes, as far as the walk needs to know.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Part {
    Set,
    File,
    Message,
    Field,
    Enum,
    Value,
    Oneof,
    Service,
    Method,
    Range,
    /// Options, with the number of the field `features` of its kind.
    Options(u32),
    Source,
    /// Only counted.
    Leaf,
}

impl Part {
    /// What the field of that number holds, where it may be repeated or has parts. After descriptor.proto.
    fn child(self, number: u32) -> Option<Part> {
        Some(match (self, number) {
            (Part::Set, 1) => Part::File,
            (Part::File, 3) => Part::Leaf,
            (Part::File, 4) | (Part::Message, 3) => Part::Message,
            (Part::File, 5) | (Part::Message, 4) => Part::Enum,
            (Part::File, 6) => Part::Service,
            (Part::File, 7) | (Part::Message, 2 | 6) => Part::Field,
            (Part::File, 8) => Part::Options(50),
            (Part::File, 9) => Part::Source,
            (Part::Message, 5) => Part::Range,
            (Part::Message, 7) => Part::Options(12),
            (Part::Message, 8) => Part::Oneof,
            (Part::Message, 9 | 10) | (Part::Enum, 4 | 5) | (Part::Source, 1) => Part::Leaf,
            (Part::Field, 8) => Part::Options(21),
            (Part::Enum, 2) => Part::Value,
            (Part::Enum, 3) => Part::Options(7),
            (Part::Value, 3) => Part::Options(2),
            (Part::Oneof, 2) => Part::Options(1),
            (Part::Service, 2) => Part::Method,
            (Part::Service, 3) => Part::Options(34),
            (Part::Method, 4) => Part::Options(35),
            (Part::Range, 3) => Part::Options(50),
            // Their own repeated ones, among them `uninterpreted_option`.
            (Part::Options(_), _) => Part::Leaf,
            _ => return None,
        })
    }
}

/// Counts what is there, and refuses what no library should see. Nothing is allocated.
pub(super) struct Walk<'a> {
    most: Most,
    files: usize,
    parts: usize,
    file: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(super) fn new(most: Most) -> Self {
        Walk { most, files: 0, parts: 0, file: &[] }
    }

    pub(super) fn walk(&mut self, part: Part, bytes: &'a [u8], depth: usize) -> Result<()> {
        let mut wire = Wire(bytes);
        while let Some((number, inner)) = wire.next()? {
            match (part, number) {
                (Part::File, 14) => return Err(self.edition("it says which")),
                (Part::Options(features), n) if n == features => return Err(self.edition("it has features")),
                _ => {}
            }
            let (Some(inner), Some(child)) = (inner, part.child(number)) else { continue };
            self.parts += 1;
            if child == Part::File {
                self.files += 1;
                self.file = inner;
            }
            let depth = depth + usize::from(child == Part::Message);
            if self.files > self.most.files {
                return Err(DescriptorsError::TooManyFiles { limit: self.most.files });
            }
            if self.parts > self.most.parts {
                return Err(DescriptorsError::TooManyParts { limit: self.most.parts });
            }
            if depth > MAX_DEPTH {
                return Err(DescriptorsError::TooDeep);
            }
            match child {
                // Its texts hold what we need not look into.
                Part::Leaf => {}
                child => self.walk(child, inner, depth)?,
            }
        }
        Ok(())
    }

    fn edition(&self, what: &'static str) -> DescriptorsError {
        let mut wire = Wire(self.file);
        let mut name: &[u8] = b"a file without a name";
        while let Ok(Some((number, inner))) = wire.next() {
            if let (1, Some(inner)) = (number, inner) {
                name = inner;
            }
        }
        DescriptorsError::Edition { file: shown(&String::from_utf8_lossy(name)), what }
    }
}

/// The fields of an encoded message: <https://protobuf.dev/programming-guides/encoding/>.
pub(super) struct Wire<'a>(pub(super) &'a [u8]);

/// Number of a field, and its bytes where it is a message, a text or bytes.
pub(super) type WireField<'a> = (u32, Option<&'a [u8]>);

impl<'a> Wire<'a> {
    pub(super) fn next(&mut self) -> Result<Option<WireField<'a>>> {
        // Groups of custom options are passed over as a whole; how they nest is left to the decoder.
        let mut groups = 0u32;
        loop {
            if self.0.is_empty() && groups == 0 {
                return Ok(None);
            }
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).map_err(|_| malformed("a field number out of range"))?;
            let mut inner = None;
            match key & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let length = self.varint()?;
                    inner = Some(self.take(length)?);
                }
                3 => groups += 1,
                4 => groups = groups.checked_sub(1).ok_or_else(|| malformed("a group that ends only"))?,
                5 => {
                    self.take(4)?;
                }
                _ => return Err(malformed("an unknown wire type")),
            }
            if groups == 0 {
                return Ok(Some((number, inner)));
            }
        }
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for at in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or_else(|| malformed("it ends in the middle"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a number of more than 10 bytes"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| malformed("it ends in the middle"))?;
        self.0 = rest;
        Ok(taken)
    }
}
