//! Python's pickle format, read as data: nothing is imported, called or executed.
//!
//! Only the opcodes of protocol 2 that checkpoints use are known. A call that the pickle asks for
//! (`REDUCE`) becomes a [`Value::Call`] for the reader to interpret, and only names on the caller's
//! list may be mentioned at all. Values live in an arena and refer to each other by index, so a
//! file can neither make the reader recurse nor multiply what it holds.

use std::collections::HashMap;

use super::ConvertError;
use super::reader::Reader;

const FORMAT: &str = "pickle";

/// Most values in one pickle.
const MOST_VALUES: usize = 1 << 18;

/// A value's place in its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(usize);

/// A value of Python's.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits: two's complement, least significant byte first.
    Long(Vec<u8>),
    Float(f64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name: module and attribute.
    Global(String, String),
    /// A call of a name with a tuple of arguments.
    Call(Id, Id),
    /// A reference to something outside the pickle.
    Persistent(Id),
}

/// One unpickled value with all that it refers to.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Reads one pickle from the front of `reader`. `globals` are the names that it may mention.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        globals: &[(&str, &str)],
    ) -> Result<Self, ConvertError> {
        let mut machine = Machine {
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            match reader.byte("the end of a pickle")? {
                b'.' => break,
                opcode => machine.step(opcode, reader, globals)?,
            }
        }
        let root = machine.pop()?;
        Ok(Self { values: machine.values, root })
    }

    pub(super) fn root(&self) -> &Value {
        self.get(self.root)
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        // Ids are only made for values that are there, and values are never removed.
        self.values.get(id.0).unwrap_or(&Value::None)
    }

    /// The value under a text key of a dictionary.
    pub(super) fn item(&self, dict: &Value, key: &str) -> Option<&Value> {
        let Value::Dict(items) = dict else { return None };
        let (_, value) =
            items.iter().rfind(|(k, _)| matches!(self.get(*k), Value::Text(t) if t == key))?;
        Some(self.get(*value))
    }

    /// The elements of a tuple or list.
    pub(super) fn elements<'a>(&'a self, sequence: &'a Value) -> Option<Vec<&'a Value>> {
        match sequence {
            Value::Tuple(ids) | Value::List(ids) => {
                Some(ids.iter().map(|i| self.get(*i)).collect())
            }
            _ => None,
        }
    }
}

/// The pickle machine's state.
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine {
    fn step(
        &mut self,
        opcode: u8,
        r: &mut Reader<'_>,
        globals: &[(&str, &str)],
    ) -> Result<(), ConvertError> {
        match opcode {
            0x80 => match r.byte("the protocol")? {
                0..=3 => Ok(()),
                other => Err(unsupported(format!("protocol {other}"))),
            },
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => self.push(Value::Int(i32::from_le_bytes(r.array("a number")?).into())),
            b'K' => self.push(Value::Int(r.byte("a number")?.into())),
            b'M' => self.push(Value::Int(u16::from_le_bytes(r.array("a number")?).into())),
            0x8a => {
                let length = r.byte("a number")?;
                self.push(long(r.take(length.into(), "a number")?))
            }
            b'G' => self.push(Value::Float(f64::from_be_bytes(r.array("a number")?))),
            b'X' => {
                let length = u32::from_le_bytes(r.array("a text")?);
                let bytes = r.take(length as usize, "a text")?;
                let text =
                    std::str::from_utf8(bytes).map_err(|_| malformed("a text is not UTF-8"))?;
                self.push(Value::Text(text.to_owned()))
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b't' => {
                let items = self.above_mark()?;
                self.push(Value::Tuple(items))
            }
            0x85..=0x87 => {
                let n = usize::from(opcode - 0x84);
                let at = self.stack.len().checked_sub(n).ok_or_else(underflow)?;
                let items = self.stack.split_off(at);
                self.push(Value::Tuple(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(&items)
            }
            b'q' | b'r' => {
                let at = memo_index(opcode == b'q', r)?;
                let top = self.top()?;
                self.memo.insert(at, top);
                Ok(())
            }
            b'h' | b'j' => {
                let at = memo_index(opcode == b'h', r)?;
                let id = *self.memo.get(&at).ok_or_else(|| malformed("an unknown memo is used"))?;
                self.stack.push(id);
                self.within_bounds()
            }
            b'c' => {
                let (module, name) = (line(r)?, line(r)?);
                if globals.contains(&(module, name)) {
                    self.push(Value::Global(module.to_owned(), name.to_owned()))
                } else {
                    Err(unsupported(format!("the name {module:.60}.{name:.60}")))
                }
            }
            b'R' => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                let call = self.call(callee, arguments);
                self.push(call)
            }
            // Attributes of an object: nothing that a checkpoint of plain tensors needs.
            b'b' => self.pop().map(drop),
            b'Q' => {
                let reference = self.pop()?;
                self.push(Value::Persistent(reference))
            }
            other => Err(unsupported(format!("the opcode {other:#04x}"))),
        }
    }

    /// What a call amounts to: an `OrderedDict()` is an empty dictionary, anything else is kept as
    /// a call.
    fn call(&self, callee: Id, arguments: Id) -> Value {
        match (self.values.get(callee.0), self.values.get(arguments.0)) {
            (Some(Value::Global(module, name)), Some(Value::Tuple(arguments)))
                if module == "collections" && name == "OrderedDict" && arguments.is_empty() =>
            {
                Value::Dict(Vec::new())
            }
            _ => Value::Call(callee, arguments),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), ConvertError> {
        self.stack.push(Id(self.values.len()));
        self.values.push(value);
        self.within_bounds()
    }

    fn within_bounds(&self) -> Result<(), ConvertError> {
        if self.values.len() <= MOST_VALUES && self.stack.len() <= MOST_VALUES {
            Ok(())
        } else {
            Err(unsupported(format!("more than {MOST_VALUES} values")))
        }
    }

    fn top(&self) -> Result<Id, ConvertError> {
        self.stack.last().copied().ok_or_else(underflow)
    }

    fn pop(&mut self) -> Result<Id, ConvertError> {
        // Below a mark lies what belongs to someone else.
        if self.marks.last().is_some_and(|m| *m >= self.stack.len()) {
            return Err(underflow());
        }
        self.stack.pop().ok_or_else(underflow)
    }

    fn above_mark(&mut self) -> Result<Vec<Id>, ConvertError> {
        let mark = self.marks.pop().ok_or_else(underflow)?;
        if mark > self.stack.len() {
            return Err(underflow());
        }
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), ConvertError> {
        let top = self.top()?;
        match self.values.get_mut(top.0) {
            Some(Value::List(list)) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(malformed("something is appended to what is no list")),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<(), ConvertError> {
        let top = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.values.get_mut(top.0) {
            Some(Value::Dict(dict)) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err(malformed("an item is set in what is no dictionary")),
        }
    }
}

fn memo_index(short: bool, r: &mut Reader<'_>) -> Result<u32, ConvertError> {
    if short { r.byte("a memo").map(u32::from) } else { r.array("a memo").map(u32::from_le_bytes) }
}

/// A text up to the end of the line.
fn line<'a>(r: &mut Reader<'a>) -> Result<&'a str, ConvertError> {
    let end = r.rest().iter().take(256).position(|b| *b == b'\n');
    let end = end.ok_or_else(|| malformed("a name does not end"))?;
    let bytes = r.take(end + 1, "a name")?;
    std::str::from_utf8(&bytes[..end]).map_err(|_| malformed("a name is not UTF-8"))
}

/// An integer in two's complement, least significant byte first.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes.to_vec());
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut out = [if negative { 0xff } else { 0 }; 8];
    out[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(out))
}

fn underflow() -> ConvertError {
    malformed("the stack runs empty")
}

fn malformed(problem: impl Into<String>) -> ConvertError {
    ConvertError::Malformed { format: FORMAT, problem: problem.into() }
}

fn unsupported(what: impl Into<String>) -> ConvertError {
    ConvertError::Unsupported { format: FORMAT, what: what.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Pickle, ConvertError> {
        Pickle::read(&mut Reader::new(bytes, FORMAT), &[("collections", "OrderedDict")])
    }

    /// Python: `pickle.dumps({"a": [1, -2, 70000, None], "b": (1.5, True)}, 2)`.
    #[test]
    fn a_pickle_of_pythons_own_is_read() {
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffJp\x11\x01\x00NeX\x01\x00\x00\x00bq\x03G?\xf8\x00\x00\x00\x00\x00\x00\x88\x86q\x04u.";
        let p = read(bytes).unwrap();
        let a = p.elements(p.item(p.root(), "a").unwrap()).unwrap();
        assert_eq!(a, [&Value::Int(1), &Value::Int(-2), &Value::Int(70_000), &Value::None]);
        let b = p.elements(p.item(p.root(), "b").unwrap()).unwrap();
        assert_eq!(b, [&Value::Float(1.5), &Value::Bool(true)]);
        assert!(p.item(p.root(), "c").is_none());
    }

    #[test]
    fn an_ordered_dict_is_a_dictionary() {
        // With an attribute set, as `torch.nn.Module.state_dict` does.
        let bytes = b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00kK\x07u}b.";
        let p = read(bytes).unwrap();
        assert_eq!(p.item(p.root(), "k"), Some(&Value::Int(7)));
    }

    #[rstest]
    #[case::code(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", "the name os.system")]
    #[case::builtin(b"c__builtin__\neval\n.", "the name __builtin__.eval")]
    #[case::opcode(b"\x80\x02i.", "the opcode 0x69")]
    #[case::construct(b"\x80\x02N)\x81.", "the opcode 0x81")]
    #[case::protocol(b"\x80\x05N.", "protocol 5")]
    #[case::empty_stack(b"\x80\x02.", "runs empty")]
    #[case::below_a_mark(b"N(.", "runs empty")]
    #[case::mark_above_stack(b"N((0t.", "the opcode 0x30")]
    #[case::no_mark(b"Nt.", "runs empty")]
    #[case::memo(b"h\x05.", "unknown memo")]
    #[case::endless_text(b"X\xff\xff\xff\xffabc", "ends early")]
    #[case::append_to_nothing(b"NNa.", "no list")]
    #[case::odd_items(b"}(NNNu.", "no dictionary")]
    #[case::endless_name(b"cabc", "does not end")]
    #[case::unfinished(b"\x80\x02}", "ends early")]
    fn anything_else_is_refused(#[case] bytes: &[u8], #[case] says: &str) {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn repetition_is_bounded() {
        let mut bytes = vec![b'N'; MOST_VALUES + 2];
        bytes.push(b'.');
        assert!(matches!(read(&bytes), Err(ConvertError::Unsupported { .. })));
        // "Billion laughs": each tuple holds the one before twice. It stays as small as its text.
        let mut bytes = b"Nq\x00".to_vec();
        for _ in 0..60 {
            bytes.extend(b"h\x00h\x00\x86q\x00");
        }
        bytes.push(b'.');
        assert_eq!(read(&bytes).unwrap().values.len(), 61);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_opcodes_are_read_or_refused(
            opcodes in prop::collection::vec(prop::sample::select(b"N\x88K\x01)]}(t\x85\x86\x87aesuq\x00h\x00RQb.".to_vec()), 0..200),
        ) {
            let _ = read(&opcodes);
        }
    }
}
