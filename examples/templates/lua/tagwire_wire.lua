-- The encoding of protobuf (https://protobuf.dev/programming-guides/encoding) for what `tagwire gen` describes.
-- Lua 5.3 or newer: integers of 64 bits and `string.pack`.

local wire = {}

local VARINT, I64, LEN, I32 = 0, 1, 2, 5

local WIRE_TYPES = {
  double = I64, fixed64 = I64, sfixed64 = I64,
  float = I32, fixed32 = I32, sfixed32 = I32,
  string = LEN, bytes = LEN, message = LEN,
}

-- What `string.pack` calls the types of fixed width.
local FORMATS = {
  double = "<d", fixed64 = "<i8", sfixed64 = "<i8", float = "<f", fixed32 = "<I4", sfixed32 = "<i4",
}

local function wire_type(field)
  return WIRE_TYPES[field.type] or VARINT
end

local function varint(value)
  local bytes = {}
  repeat
    local low = value & 0x7f
    value = value >> 7
    bytes[#bytes + 1] = string.char(value ~= 0 and low | 0x80 or low)
  until value == 0
  return table.concat(bytes)
end

-- The value and the position behind it.
local function read_varint(bytes, at)
  local value, shift = 0, 0
  while true do
    local byte = bytes:byte(at)
    if not byte then error("the message ends within a number", 0) end
    if shift > 63 then error("a number of more than 64 bits", 0) end
    value = value | (byte & 0x7f) << shift
    at, shift = at + 1, shift + 7
    if byte < 0x80 then return value, at end
  end
end

-- The least and the most of the types of 32 bits; of 64 bits every integer will do.
local SIGNED, UNSIGNED = { -0x80000000, 0x7fffffff }, { 0, 0xffffffff }
local RANGES = {
  int32 = SIGNED, sint32 = SIGNED, sfixed32 = SIGNED, enum = SIGNED, uint32 = UNSIGNED, fixed32 = UNSIGNED,
}

-- What Lua calls the values of the types that are no numbers, and what errors call them.
local LUA_TYPES = { bool = "boolean", string = "string", bytes = "string", message = "table" }
local WORDS = { boolean = "true or false", string = "a string", table = "a table" }

local function expect(field, value, lua_type)
  if type(value) ~= lua_type then
    error(("%s is %s, not %s"):format(field.name, tostring(value), WORDS[lua_type]), 0)
  end
end

-- The value as it can be written: an integer where the field has those. Another one than the field can hold would be
-- cut, and be another number to the receiver.
local function checked(field, value)
  local kind = field.type
  if LUA_TYPES[kind] then
    expect(field, value, LUA_TYPES[kind])
    return value
  end
  if kind == "double" or kind == "float" then
    if not math.type(value) then error(("%s is %s, not a number"):format(field.name, tostring(value)), 0) end
    return value
  end
  local whole = math.type(value) and math.tointeger(value)
  if not whole then error(("%s is %s, not a whole number"):format(field.name, tostring(value)), 0) end
  local range = RANGES[kind]
  if range and (whole < range[1] or whole > range[2]) then
    error(("%s is %d, out of the range of %s"):format(field.name, whole, kind), 0)
  end
  return whole
end

local encode_message, decode_message

local function encode_value(messages, field, value)
  local kind = field.type
  value = checked(field, value)
  if kind == "bool" then return value and "\1" or "\0" end
  if kind == "sint32" or kind == "sint64" then return varint(value << 1 ~ (value < 0 and -1 or 0)) end
  if FORMATS[kind] then return string.pack(FORMATS[kind], value) end
  if kind == "message" then value = encode_message(messages, field.of, value) end
  if wire_type(field) == LEN then return varint(#value) .. value end
  -- Also a negative int32: it takes ten bytes, as of any number of 64 bits.
  return varint(value)
end

local DEFAULTS = { bool = false, string = "", bytes = "", double = 0.0, float = 0.0 }

local function default(field)
  if DEFAULTS[field.type] ~= nil then return DEFAULTS[field.type] end
  return 0
end

-- True for what is not sent where a field has no presence. A zero below zero is another number to protobuf.
local function is_default(field, value)
  if value ~= default(field) then return false end
  return not (FORMATS[field.type] and value == 0 and 1 / value < 0)
end

-- Names of fields, by message.
local known = setmetatable({}, { __mode = "k" })

local function refuse_unknown(message, name, value)
  local names = known[message]
  if not names then
    names = {}
    for _, field in ipairs(message.fields) do names[field.name] = true end
    known[message] = names
  end
  for key in pairs(value) do
    if not names[key] then error(("%s has no field %s"):format(name, tostring(key)), 0) end
  end
end

function encode_message(messages, name, value)
  local message = messages[name] or error("no message " .. name, 0)
  refuse_unknown(message, name, value)
  local parts = {}
  for _, field in ipairs(message.fields) do
    local own = value[field.name]
    if own ~= nil and field.label == "repeated" then expect(field, own, "table") end
    local key = varint(field.number << 3 | wire_type(field))
    if own == nil then
      -- Not set: it is not on the wire.
    elseif field.label == "repeated" and field.packed then
      local packed = {}
      for i, one in ipairs(own) do packed[i] = encode_value(messages, field, one) end
      local all = table.concat(packed)
      if #own > 0 then parts[#parts + 1] = varint(field.number << 3 | LEN) .. varint(#all) .. all end
    elseif field.label == "repeated" then
      for _, one in ipairs(own) do parts[#parts + 1] = key .. encode_value(messages, field, one) end
    elseif field.label ~= "implicit" or not is_default(field, own) then
      parts[#parts + 1] = key .. encode_value(messages, field, own)
    end
  end
  return table.concat(parts)
end

-- `before`: of a message the value that the field has so far, into which this one goes.
local function decode_value(messages, field, bytes, at, before)
  local kind = field.type
  if FORMATS[kind] then
    if at + string.packsize(FORMATS[kind]) > #bytes + 1 then error("the message ends within a number", 0) end
    return string.unpack(FORMATS[kind], bytes, at)
  end
  local number
  number, at = read_varint(bytes, at)
  if wire_type(field) == LEN then
    local last = at + number - 1
    if number < 0 or last > #bytes then error("the message ends within a field", 0) end
    local inner = bytes:sub(at, last)
    if kind == "message" then inner = decode_message(messages, field.of, inner, before) end
    return inner, last + 1
  end
  if kind == "bool" then return number ~= 0, at end
  if kind == "sint32" or kind == "sint64" then return number >> 1 ~ -(number & 1), at end
  if kind == "uint32" then return number & 0xffffffff, at end
  if kind == "int32" or kind == "enum" then
    number = number & 0xffffffff
    return number >= 0x80000000 and number - 0x100000000 or number, at
  end
  return number, at
end

-- The position behind a field that is passed over.
local function skip(bytes, at, kind)
  if kind == VARINT then
    local _, behind = read_varint(bytes, at)
    at = behind
  elseif kind == I64 then
    at = at + 8
  elseif kind == I32 then
    at = at + 4
  elseif kind == LEN then
    local length, behind = read_varint(bytes, at)
    if length < 0 then error("a field of negative length", 0) end
    at = behind + length
  else
    error("a field of wire type " .. kind, 0)
  end
  if at > #bytes + 1 then error("the message ends within a field", 0) end
  return at
end

-- `before`: a value to go on with. A message that comes twice is one: lists grow, of all else the last counts.
function decode_message(messages, name, bytes, before)
  local message = messages[name] or error("no message " .. name, 0)
  local value, by_number = before or {}, {}
  for _, field in ipairs(message.fields) do
    by_number[field.number] = field
    if before then
      -- It has its defaults.
    elseif field.label == "repeated" then
      value[field.name] = {}
    elseif field.label == "implicit" then
      value[field.name] = default(field)
    end
  end
  local at = 1
  while at <= #bytes do
    local key
    key, at = read_varint(bytes, at)
    local field, kind = by_number[key >> 3], key & 7
    if field and field.label == "repeated" and kind == LEN and wire_type(field) ~= LEN then
      -- Packed, whether it was to be or not: a receiver takes both.
      local length
      length, at = read_varint(bytes, at)
      local last = at + length - 1
      if length < 0 or last > #bytes then error("the message ends within a list", 0) end
      local inner, list = bytes:sub(at, last), value[field.name]
      local inside = 1
      while inside <= #inner do
        list[#list + 1], inside = decode_value(messages, field, inner, inside)
      end
      at = last + 1
    elseif field and kind == wire_type(field) then
      local one
      if field.label == "repeated" then
        one, at = decode_value(messages, field, bytes, at)
        table.insert(value[field.name], one)
      else
        one, at = decode_value(messages, field, bytes, at, value[field.name])
        for _, other in ipairs(field.oneof and message.fields or {}) do
          if other.oneof == field.oneof then value[other.name] = nil end
        end
        value[field.name] = one
      end
    else
      at = skip(bytes, at, kind)
    end
  end
  return value
end

wire.encode = encode_message

function wire.decode(messages, name, bytes)
  return decode_message(messages, name, bytes)
end

return wire
