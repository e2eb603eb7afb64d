//! Random texts and numbers from a seed.

use std::cell::RefCell;
use std::rc::Rc;

use nave_gotemplate::{Caller, Value};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::encoding::encode_base64;
use crate::table::{INT, Result, STRING, Table, fail, int_at, size, str_at};
use crate::text::runes;

/// The stream of random numbers of one render.
pub(crate) struct Random(ChaCha20Rng);

pub(crate) type Shared = Rc<RefCell<Random>>;

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// The generator itself, for keys.
    pub(crate) fn generator(&mut self) -> &mut ChaCha20Rng {
        &mut self.0
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `bound`, all equally likely. `bound` is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        let whole = u64::MAX - u64::MAX % bound;
        loop {
            let n = self.0.next_u64();
            if n < whole {
                return n % bound;
            }
        }
    }
}

pub(crate) fn register(table: &mut Table<'_>, random: &Shared) {
    const ALPHA: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const NUMERIC: &[u8] = b"0123456789";
    let alpha_num: &'static [u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let ascii: &'static [u8] =
        b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
    for (name, letters) in [
        ("randAlpha", ALPHA),
        ("randNumeric", NUMERIC),
        ("randAlphaNum", alpha_num),
        ("randAscii", ascii),
    ] {
        let random = Rc::clone(random);
        table.add(name, &[INT], move |caller, args| {
            let count = size(i128::from(int_at(args, 0)));
            caller.charge((count / 4) as u64)?;
            caller.charge_bytes(count)?;
            let mut random = random.borrow_mut();
            let letter = |_| letters[usize::try_from(random.below(letters.len() as u64)).expect("below the length")];
            Ok(Value::string((0..count).map(letter).collect::<Vec<u8>>()))
        });
    }
    let shared = Rc::clone(random);
    table.add("randBytes", &[INT], move |caller, args| {
        let Ok(count) = usize::try_from(int_at(args, 0)) else {
            return fail("runtime error: makeslice: len out of range");
        };
        caller.charge((count / 4) as u64)?;
        caller.charge_bytes(count.saturating_mul(3))?;
        let mut bytes = vec![0; count];
        shared.borrow_mut().generator().fill_bytes(&mut bytes);
        Ok(encode_base64(&bytes).into())
    });
    let shared = Rc::clone(random);
    table.add("randInt", &[INT, INT], move |_, args| {
        let (low, high) = (int_at(args, 0), int_at(args, 1));
        let Some(range) = u64::try_from(high.wrapping_sub(low)).ok().filter(|range| *range > 0) else {
            return fail("invalid argument to Intn");
        };
        Ok(Value::int(low.wrapping_add_unsigned(shared.borrow_mut().below(range))))
    });
    let shared = Rc::clone(random);
    table.add("shuffle", &[STRING], move |caller, args| shuffle(caller, &shared, args));
    let shared = Rc::clone(random);
    table.add("uuidv4", &[], move |_, _| {
        let mut bytes: [u8; 16] = shared.borrow_mut().bytes();
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
        .into())
    });
}

fn shuffle(caller: &mut Caller<'_>, random: &Shared, args: &[Value]) -> Result {
    let text = str_at(args, 0);
    caller.charge(text.len() as u64)?;
    caller.charge_bytes(text.len())?;
    let mut letters: Vec<char> = runes(text.as_bytes()).map(|(c, _)| c).collect();
    let mut random = random.borrow_mut();
    for last in (1..letters.len()).rev() {
        let other = usize::try_from(random.below(last as u64 + 1)).expect("below the length");
        letters.swap(last, other);
    }
    Ok(letters.into_iter().collect::<String>().into())
}
