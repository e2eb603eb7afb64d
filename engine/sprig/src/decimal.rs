//! Decimal arithmetic of the functions on floats, as `github.com/shopspring/decimal` 1.4.0 has it.

use nave_gotemplate::{Caller, FunctionError, Value};
use num_bigint_dig::{BigInt, BigUint, Sign};

use crate::convert::to_float64;

/// How many decimals a quotient has.
const DIVISION_PRECISION: i64 = 16;

/// The largest number of digits that is worked with.
const MAX_DIGITS: i64 = 1 << 16;

/// `digits` times ten to the power of `exponent`.
#[derive(Clone, Debug)]
pub(crate) struct Decimal {
    digits: BigInt,
    exponent: i64,
}

/// What is done with each further number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
}

/// Applies the operation to the numbers from left to right; the result is the nearest float.
pub(crate) fn fold(
    caller: &mut Caller<'_>,
    first: Decimal,
    rest: &[Value],
    operation: Operation,
) -> Result<Value, FunctionError> {
    let mut sum = first;
    for value in rest {
        let next = Decimal::new(to_float64(value))?;
        let length = sum.len() + next.len() + (sum.exponent - next.exponent).abs();
        if length > MAX_DIGITS {
            return Err(FunctionError::new(format!(
                "decimal with more than {MAX_DIGITS} digits"
            )));
        }
        caller.charge(u64::try_from(length / 8 + length * length / 4096).unwrap_or(u64::MAX))?;
        sum = sum.apply(&next, operation)?;
    }
    Ok(Value::Float(sum.to_float()))
}

impl Decimal {
    /// The shortest decimal that reads back as this float.
    pub(crate) fn new(f: f64) -> Result<Self, FunctionError> {
        if !f.is_finite() {
            let name = if f.is_nan() {
                "NaN"
            } else if f > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            };
            return Err(FunctionError::new(format!("Cannot create a Decimal from {name}")));
        }
        let text = format!("{f:e}");
        let (mantissa, exponent) = text.split_once('e').expect("the format has an exponent");
        let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let digits = mantissa
            .replace('.', "")
            .parse()
            .expect("only digits and a sign are left");
        let exponent: i64 = exponent.parse().expect("the exponent is a number");
        Ok(Self {
            digits,
            exponent: exponent - i64::try_from(fraction).expect("a float has few digits"),
        })
    }

    fn len(&self) -> i64 {
        i64::try_from(self.digits.bits()).unwrap_or(i64::MAX) * 3 / 10 + 1
    }

    fn apply(&self, other: &Self, operation: Operation) -> Result<Self, FunctionError> {
        let exponent = self.exponent.min(other.exponent);
        Ok(match operation {
            Operation::Add => Self {
                digits: self.scaled(exponent) + other.scaled(exponent),
                exponent,
            },
            Operation::Sub => Self {
                digits: self.scaled(exponent) - other.scaled(exponent),
                exponent,
            },
            Operation::Mul => Self {
                digits: &self.digits * &other.digits,
                exponent: self.exponent + other.exponent,
            },
            Operation::Div => self.divided(other)?,
        })
    }

    /// The digits with this exponent, which is not above the own one.
    fn scaled(&self, exponent: i64) -> BigInt {
        &self.digits * power_of_ten(self.exponent - exponent)
    }

    /// Rounded half away from zero.
    fn divided(&self, other: &Self) -> Result<Self, FunctionError> {
        if other.digits.sign() == Sign::NoSign {
            return Err(FunctionError::new("decimal division by 0"));
        }
        let shift = DIVISION_PRECISION + self.exponent - other.exponent;
        let (above, below) = if shift >= 0 {
            (&self.digits * power_of_ten(shift), other.digits.clone())
        } else {
            (self.digits.clone(), &other.digits * power_of_ten(-shift))
        };
        let quotient = &above / &below;
        let rest = &above - &quotient * &below;
        let digits = if magnitude(&rest) * 2u32 < magnitude(&below) {
            quotient
        } else if (above.sign() == Sign::Minus) == (below.sign() == Sign::Minus) {
            quotient + 1
        } else {
            quotient - 1
        };
        Ok(Self {
            digits,
            exponent: -DIVISION_PRECISION,
        })
    }

    fn to_float(&self) -> f64 {
        format!("{}e{}", self.digits, self.exponent).parse().unwrap_or(f64::NAN)
    }
}

fn magnitude(n: &BigInt) -> BigUint {
    BigUint::from_bytes_be(&n.to_bytes_be().1)
}

fn power_of_ten(n: i64) -> BigInt {
    let mut n = n.clamp(0, 4 * MAX_DIGITS);
    let mut out = BigInt::from(1);
    let mut base = BigInt::from(10);
    while n > 0 {
        if n & 1 == 1 {
            out *= &base;
        }
        n >>= 1;
        if n > 0 {
            base = &base * &base;
        }
    }
    out
}
