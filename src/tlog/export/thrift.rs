//! As much of Thrift's compact protocol (`doc/specs/thrift-compact-protocol.md` of Apache Thrift) as
//! a Parquet file's metadata needs.

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Writes the fields of one struct, in the order of their ids.
pub(super) struct Fields<'o> {
    out: &'o mut Vec<u8>,
    last: u8,
}

impl<'o> Fields<'o> {
    /// A struct at the end of `out`.
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    pub(super) fn i32(&mut self, id: u8, value: i32) -> &mut Self {
        self.head(id, I32);
        varint(self.out, zigzag(value.into()));
        self
    }

    pub(super) fn i64(&mut self, id: u8, value: i64) -> &mut Self {
        self.head(id, I64);
        varint(self.out, zigzag(value));
        self
    }

    pub(super) fn text(&mut self, id: u8, value: &str) -> &mut Self {
        self.head(id, BINARY);
        binary(self.out, value);
        self
    }

    pub(super) fn nested(&mut self, id: u8, fields: impl FnOnce(&mut Fields<'_>)) -> &mut Self {
        self.head(id, STRUCT);
        structure(self.out, fields);
        self
    }

    pub(super) fn i32s(&mut self, id: u8, values: &[i32]) -> &mut Self {
        self.list(id, I32, values, |out, v| varint(out, zigzag((*v).into())))
    }

    pub(super) fn texts(&mut self, id: u8, values: &[&str]) -> &mut Self {
        self.list(id, BINARY, values, |out, v| binary(out, v))
    }

    /// A list of structs, one for each item.
    pub(super) fn structs<T>(
        &mut self,
        id: u8,
        items: &[T],
        fields: impl Fn(&T, &mut Fields<'_>),
    ) -> &mut Self {
        self.list(id, STRUCT, items, |out, item| structure(out, |f| fields(item, f)))
    }

    fn list<T>(
        &mut self,
        id: u8,
        kind: u8,
        items: &[T],
        each: impl Fn(&mut Vec<u8>, &T),
    ) -> &mut Self {
        self.head(id, LIST);
        match u8::try_from(items.len()) {
            Ok(n @ 0..15) => self.out.push(n << 4 | kind),
            _ => {
                self.out.push(0xf0 | kind);
                varint(self.out, items.len() as u64);
            }
        }
        for item in items {
            each(self.out, item);
        }
        self
    }

    /// The short form: ids of these structs are never more than 15 apart.
    fn head(&mut self, id: u8, kind: u8) {
        self.out.push((id - self.last) << 4 | kind);
        self.last = id;
    }
}

/// A whole struct at the end of `out`.
pub(super) fn structure(out: &mut Vec<u8>, fields: impl FnOnce(&mut Fields<'_>)) {
    fields(&mut Fields::new(out));
    out.push(0);
}

fn binary(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What was read. Kinds that no struct here has are not told apart from damage.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'i> {
    Number(i64),
    Bytes(&'i [u8]),
    List(Vec<Value<'i>>),
    /// Fields by id, in order.
    Struct(Vec<(u8, Value<'i>)>),
}

impl<'i> Value<'i> {
    /// The struct at the start of `input`, which is moved to what comes after it. `None` where there
    /// is none.
    pub(super) fn read(input: &mut &'i [u8]) -> Option<Self> {
        value(input, STRUCT, 0)
    }

    pub(super) fn field(&self, wanted: u8) -> Option<&Self> {
        let Self::Struct(fields) = self else { return None };
        fields.iter().find(|(id, _)| *id == wanted).map(|(_, value)| value)
    }

    /// A number that counts something.
    pub(super) fn count(&self, field: u8) -> Option<usize> {
        match self.field(field)? {
            Self::Number(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    pub(super) fn text(&self, field: u8) -> Option<&'i str> {
        match self.field(field)? {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub(super) fn list(&self, field: u8) -> Option<&[Self]> {
        match self.field(field)? {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

/// The metadata's structs are no deeper.
const MAX_DEPTH: u8 = 8;

fn value<'i>(input: &mut &'i [u8], kind: u8, depth: u8) -> Option<Value<'i>> {
    if depth > MAX_DEPTH {
        return None;
    }
    match kind {
        I32 | I64 => {
            let n = read_varint(input)?;
            Some(Value::Number((n >> 1) as i64 ^ -((n & 1) as i64)))
        }
        BINARY => {
            let length = usize::try_from(read_varint(input)?).ok()?;
            let (bytes, rest) = input.split_at_checked(length)?;
            *input = rest;
            Some(Value::Bytes(bytes))
        }
        LIST => {
            let head = byte(input)?;
            let count = match head >> 4 {
                15 => read_varint(input)?,
                n => n.into(),
            };
            // Every item takes a byte at least, so a list can't be longer than what is left.
            let items = (0..count).map(|_| value(input, head & 15, depth + 1));
            items.collect::<Option<_>>().map(Value::List)
        }
        STRUCT => {
            let (mut fields, mut last) = (Vec::new(), 0u8);
            loop {
                let head = byte(input)?;
                if head == 0 {
                    return Some(Value::Struct(fields));
                }
                last = last.checked_add(head >> 4).filter(|_| head >> 4 > 0)?;
                fields.push((last, value(input, head & 15, depth + 1)?));
            }
        }
        _ => None,
    }
}

fn byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

fn read_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte(input)?;
        value |= u64::from(next & 0x7f) << shift;
        if next < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        let many: Vec<i32> = (-20..20).collect();
        structure(&mut out, |f| {
            f.i32(1, -1).i64(4, i64::MIN).text(5, "häuser").i32s(6, &many).texts(7, &["a", ""]);
            f.nested(9, |f| {
                f.structs(2, &[1, 2], |n, f| {
                    f.i32(1, *n);
                });
            });
        });
        let mut rest = &out[..];
        let read = Value::read(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!(read.field(1), Some(&Value::Number(-1)));
        assert_eq!(read.count(1), None);
        assert_eq!(read.field(4), Some(&Value::Number(i64::MIN)));
        assert_eq!(read.text(5), Some("häuser"));
        let numbers: Vec<_> = many.iter().map(|n| Value::Number((*n).into())).collect();
        assert_eq!(read.list(6), Some(&numbers[..]));
        assert_eq!(read.list(7), Some(&[Value::Bytes(b"a"), Value::Bytes(b"")][..]));
        let inner = read.field(9).unwrap().list(2).unwrap();
        assert_eq!((inner.len(), inner[1].count(1)), (2, Some(2)));
        // No beginning of it is read as something whole.
        for cut in 0..out.len() {
            assert_eq!(Value::read(&mut &out[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn hostile_metadata_ends() {
        // A list that claims to be endless, a struct in a struct in a struct, a number too long.
        let endless = [0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Value::read(&mut &endless[..]), None);
        assert_eq!(Value::read(&mut &[0x1c; 1000][..]), None);
        assert_eq!(Value::read(&mut &[[0x15].as_slice(), &[0xff; 20]].concat()[..]), None);
    }
}
