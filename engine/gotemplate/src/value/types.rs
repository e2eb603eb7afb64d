//! Go's types and kinds, as far as templates show them.

use std::fmt;

/// Which of Go's integer types a number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntKind {
    /// `int`, 64 bits wide.
    Int,
    /// `int8`.
    Int8,
    /// `int16`.
    Int16,
    /// `int32`, also `rune`.
    Int32,
    /// `int64`.
    Int64,
    /// `uint`, 64 bits wide.
    Uint,
    /// `uint8`, also `byte`.
    Uint8,
    /// `uint16`.
    Uint16,
    /// `uint32`.
    Uint32,
    /// `uint64`.
    Uint64,
}

impl IntKind {
    /// Whether negative numbers are among its values.
    #[must_use]
    pub fn is_signed(self) -> bool {
        matches!(self, Self::Int | Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64)
    }

    /// Go's name of the type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint => "uint",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
        }
    }

    /// The bits of a number after Go's conversion to this type, which cuts off what does not fit.
    #[must_use]
    pub fn wrap(self, bits: u64) -> u64 {
        let signed = bits.cast_signed();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "cutting off is what Go does"
        )]
        match self {
            Self::Int | Self::Int64 | Self::Uint | Self::Uint64 => bits,
            Self::Int8 => i64::from(signed as i8) as u64,
            Self::Int16 => i64::from(signed as i16) as u64,
            Self::Int32 => i64::from(signed as i32) as u64,
            Self::Uint8 => u64::from(bits as u8),
            Self::Uint16 => u64::from(bits as u16),
            Self::Uint32 => u64::from(bits as u32),
        }
    }
}

/// What `reflect.Kind` tells about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The untyped nil.
    Invalid,
    /// `bool`.
    Bool,
    /// Any integer.
    Int(IntKind),
    /// `float64`.
    Float64,
    /// `complex128`.
    Complex128,
    /// `string`.
    String,
    /// Any slice.
    Slice,
    /// Any map.
    Map,
    /// A function.
    Func,
    /// A pointer to something of the host.
    Ptr,
    /// A struct of the host.
    Struct,
}

impl Kind {
    /// Go's name of the kind: `invalid`, `slice`, `ptr` and so on.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Bool => "bool",
            Self::Int(kind) => kind.name(),
            Self::Float64 => "float64",
            Self::Complex128 => "complex128",
            Self::String => "string",
            Self::Slice => "slice",
            Self::Map => "map",
            Self::Func => "func",
            Self::Ptr => "ptr",
            Self::Struct => "struct",
        }
    }
}

/// A Go type: what a parameter wants, what a list or map holds, what `%T` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GoType {
    /// `interface {}`: takes every value, and nil.
    Any,
    /// `reflect.Value`: takes every value, and tells nothing from nil. Only built-in functions use it.
    Reflect,
    /// `bool`.
    Bool,
    /// One of the integer types.
    Int(IntKind),
    /// `float64`.
    Float64,
    /// `complex128`.
    Complex128,
    /// `string`.
    String,
    /// `[]uint8`.
    Bytes,
    /// A slice of the given element type.
    List(&'static GoType),
    /// `map[string]T` with the given element type.
    Map(&'static GoType),
    /// A map with a name of its own, such as `common.Values`: the name, and the element type. Go lets it stand for the
    /// unnamed map type and the other way round.
    NamedMap(&'static str, &'static GoType),
    /// Any other named type (or pointer to one), by its full name as `%T` prints it: `time.Time`, `*semver.Version`.
    Named(&'static str),
    /// Any function.
    Func,
}

impl GoType {
    /// `int`.
    pub const INT: Self = Self::Int(IntKind::Int);
    /// `int64`.
    pub const INT64: Self = Self::Int(IntKind::Int64);
    /// `[]interface {}`.
    pub const ANY_LIST: Self = Self::List(&Self::Any);
    /// `[]string`.
    pub const STRING_LIST: Self = Self::List(&Self::String);
    /// `map[string]interface {}`.
    pub const ANY_MAP: Self = Self::Map(&Self::Any);
    /// `map[string]string`.
    pub const STRING_MAP: Self = Self::Map(&Self::String);

    /// Whether a nil can be given where this type is wanted. For [`GoType::Named`] only a pointer can.
    #[must_use]
    pub fn can_be_nil(self) -> bool {
        match self {
            Self::Any
            | Self::Reflect
            | Self::Bytes
            | Self::List(_)
            | Self::Map(_)
            | Self::NamedMap(..)
            | Self::Func => true,
            Self::Named(name) => name.starts_with('*'),
            _ => false,
        }
    }

    /// Whether Go lets a value of this type be given where `wanted` is: the same type, `interface {}`, or two map types
    /// of which at most one has a name.
    #[must_use]
    pub fn assignable_to(self, wanted: Self) -> bool {
        match (self, wanted) {
            (_, Self::Any | Self::Reflect) => true,
            (Self::NamedMap(_, a), Self::Map(b)) | (Self::Map(a), Self::NamedMap(_, b)) => a == b,
            (a, b) => a == b,
        }
    }
}

impl fmt::Display for GoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("interface {}"),
            Self::Reflect => f.write_str("reflect.Value"),
            Self::Bool => f.write_str("bool"),
            Self::Int(kind) => f.write_str(kind.name()),
            Self::Float64 => f.write_str("float64"),
            Self::Complex128 => f.write_str("complex128"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("[]uint8"),
            Self::List(elem) => write!(f, "[]{elem}"),
            Self::Map(elem) => write!(f, "map[string]{elem}"),
            Self::NamedMap(name, _) | Self::Named(name) => f.write_str(name),
            Self::Func => f.write_str("func()"),
        }
    }
}
