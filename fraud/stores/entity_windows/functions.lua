#!lua name=fraud_entities_@version@
-- Entity windows inside Redis: what fraud/features/entity_state.py does in memory, on packed values.
--
-- The layout of values stands in layout.py beside this file. Every function gets the shard's control record as its
-- first key and, as its first argument, the record that the caller knows: if they differ, nothing is done and the true
-- record is returned, so that no call ever lands in a generation that was given up. All keys of a call are in one slot.

local HEAD = '<BI8I4I8I8I4I4'
local HEAD_BYTES = 37
local STATE, WAITING = 1, 80
local MARK_BYTES = 16
local EPOCH_BYTES = 8
-- Above this a head gives its oldest rows to the past: a head stays cheap to read whole, and a past that clients hold
-- already changes rarely. Named in layout.py too.
local HEAD_ROWS, FOLDED_ROWS = 32, 16
-- A past is written anew when this part of it has expired, so that rewriting costs a constant for each row ever added.
local EXPIRED_PART = 4
local LIMB = 4294967296
-- What HGET gives nobody: a source that has no cut-off of its own has that of '*'.
local OTHERS = '*'

-- Numbers of one kind of entity in the plan of a generation, with its row: bucket, count, amount (two limbs, since a
-- number of Lua is exact to 53 bits only), first times.
local function kind_plan(generation, kind)
  local numbers = generation[2][3][kind]
  local plan = {
    hop = numbers[1], retention = numbers[2], customers = numbers[3], cards = numbers[4],
    amounts = numbers[5], first_times = numbers[6], forget = generation[2][1], keep = generation[2][2],
    distinct = generation[2][4],
  }
  plan.row = '<I4I4' .. (plan.amounts and 'I4I4' or '') .. (plan.first_times and 'I4' or '')
  plan.width = struct.size(plan.row)
  return plan
end

local function new_state(plan)
  return {
    epoch = 0, past_rows = 0, newest = 0, first_seen = 0, offsets = {}, marks = '', rows = '',
    customers = plan.customers and {}, cards = plan.cards and {},
  }
end

local function unpack_state(value)
  local _, epoch, past_rows, newest, first_seen, lists, marks = struct.unpack(HEAD, value)
  local offsets, customers, cards = unpack(cmsgpack.unpack(value:sub(HEAD_BYTES + 1, HEAD_BYTES + lists)))
  local rest = HEAD_BYTES + lists
  return {
    epoch = epoch, past_rows = past_rows, newest = newest, first_seen = first_seen, offsets = offsets,
    customers = customers, cards = cards, marks = value:sub(rest + 1, rest + marks), rows = value:sub(rest + marks + 1),
  }
end

local function write_state(state, keys, plan)
  local lists = cmsgpack.pack({state.offsets, state.customers or false, state.cards or false})
  local head = struct.pack(
    HEAD, STATE, state.epoch, state.past_rows, state.newest, state.first_seen, #lists, #state.marks
  )
  redis.call('SET', keys.head, head .. lists .. state.marks .. state.rows, 'PX', plan.keep)
  if state.past_rows > 0 then redis.call('PEXPIRE', keys.past, plan.keep) end
end

local function bucket_at(rows, place) return (struct.unpack('<I4', rows, place)) end

-- Where the last row at or before `bucket` starts; 1 - width if there is none.
local function row_at(rows, bucket, width)
  local last = #rows - width + 1
  if last < 1 or bucket_at(rows, last) <= bucket then return last end
  local low, high = 0, #rows / width - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if bucket_at(rows, middle * width + 1) <= bucket then low = middle + 1 else high = middle end
  end
  return (low - 1) * width + 1
end

-- The rows with one more event in `bucket`.
local function with_event(rows, plan, bucket, low, high, first)
  local width = plan.width
  local place = row_at(rows, bucket, width)
  local values = {bucket, 0, 0, 0, 0}
  local after = place + width
  if place > 0 and bucket_at(rows, place) == bucket then
    values = {struct.unpack(plan.row, rows, place)}
  else
    place = after
  end
  values[2] = values[2] + 1
  local next_value = 3
  if plan.amounts then
    low = values[3] + low
    if low >= LIMB then low, high = low - LIMB, high + 1 end
    values[3], values[4], next_value = low, values[4] + high, 5
  end
  if plan.first_times and first then values[next_value] = values[next_value] + 1 end
  return rows:sub(1, place - 1) .. struct.pack(plan.row, unpack(values)) .. rows:sub(after)
end

local function set_past(state, keys, plan, rows)
  state.epoch = state.epoch + 1
  state.past_rows = #rows / plan.width
  if state.past_rows == 0 then
    redis.call('UNLINK', keys.past)
  else
    redis.call('SET', keys.past, struct.pack('<I8', state.epoch) .. rows, 'PX', plan.keep)
  end
end

local function past_of(state, keys, plan)
  return redis.call('GETRANGE', keys.past, EPOCH_BYTES, EPOCH_BYTES + state.past_rows * plan.width - 1)
end

local function expired_bucket(state, plan) return math.floor((state.newest - plan.retention) / plan.hop) end

local function without_expired(rows, state, plan)
  return rows:sub(row_at(rows, expired_bucket(state, plan), plan.width) + plan.width)
end

local function fold(state, keys, plan)
  state.rows = without_expired(state.rows, state, plan)
  if state.past_rows > 0 then
    local place = EPOCH_BYTES + math.floor(state.past_rows / EXPIRED_PART) * plan.width
    local bucket = struct.unpack('<I4', redis.call('GETRANGE', keys.past, place, place + 3))
    if bucket <= expired_bucket(state, plan) then
      set_past(state, keys, plan, without_expired(past_of(state, keys, plan), state, plan))
    end
  end
  if #state.rows <= HEAD_ROWS * plan.width then return end
  local folded = state.rows:sub(1, FOLDED_ROWS * plan.width)
  state.rows = state.rows:sub(FOLDED_ROWS * plan.width + 1)
  if state.past_rows == 0 then
    set_past(state, keys, plan, folded)
  else
    redis.call('APPEND', keys.past, folded)
    state.past_rows = state.past_rows + FOLDED_ROWS
  end
end

local function count(state, keys, plan, bucket, low, high, first)
  if bucket <= expired_bucket(state, plan) then return end
  if state.past_rows > 0 and (#state.rows == 0 or bucket < bucket_at(state.rows, 1)) then
    local past = past_of(state, keys, plan)
    if bucket <= bucket_at(past, #past - plan.width + 1) then
      set_past(state, keys, plan, with_event(past, plan, bucket, low, high, first))
      return
    end
  end
  state.rows = with_event(state.rows, plan, bucket, low, high, first)
  if #state.rows > HEAD_ROWS * plan.width then fold(state, keys, plan) end
end

-- Last-seen times stay sorted; beyond the cap the first one is forgotten. While two token keys are in use, `who` may be
-- both names: now the first, before the second.
local function see(list, who, timestamp, cap)
  local size, former = #list, nil
  if type(who) == 'table' then who, former = who[1], who[2] end
  for place = size - 1, 1, -2 do
    if list[place] == who or list[place] == former then
      timestamp = math.max(timestamp, list[place + 1])
      table.remove(list, place + 1)
      table.remove(list, place)
      size = size - 2
      if not former then break end
    end
  end
  local place = size + 1
  while place > 1 and list[place - 1] > timestamp do place = place - 2 end
  table.insert(list, place, timestamp)
  table.insert(list, place, who)
  if size + 2 > 2 * cap then
    table.remove(list, 2)
    table.remove(list, 1)
  end
end

-- Marks are (timestamp, identity) pairs sorted by time.
local function keep_marks(marks, from_timestamp)
  local place = 1
  while place < #marks and struct.unpack('<I8', marks, place) < from_timestamp do place = place + MARK_BYTES end
  return place == 1 and marks or marks:sub(place)
end

local function mark(state, plan, identity, timestamp, is_fraud)
  local marks = state.marks
  if state.newest > 0 then marks = keep_marks(marks, state.newest - plan.retention + 1) end
  local place = 1
  while place < #marks do
    local at, known = struct.unpack('<I8I8', marks, place)
    if at > timestamp then break end
    if at == timestamp and known == identity then
      state.marks = is_fraud and marks or marks:sub(1, place - 1) .. marks:sub(place + MARK_BYTES)
      return
    end
    place = place + MARK_BYTES
  end
  if is_fraud and (state.newest == 0 or timestamp > state.newest - plan.retention) then
    marks = marks:sub(1, place - 1) .. struct.pack('<I8I8', timestamp, identity) .. marks:sub(place)
  end
  state.marks = marks
end

-- Silent for too long: everything is forgotten but what was counted by source, and frauds whose transactions are
-- still to come.
local function forget(state, keys, plan)
  state.marks = keep_marks(state.marks, state.newest + 1)
  if state.past_rows > 0 then set_past(state, keys, plan, '') end
  state.newest, state.first_seen, state.rows = 0, 0, ''
  state.customers, state.cards = plan.customers and {}, plan.cards and {}
end

local function absorb_event(state, keys, plan, timestamp, low, high, customer, card, first)
  if state.newest > 0 and state.newest < timestamp - plan.forget then forget(state, keys, plan) end
  if state.newest == 0 then
    state.first_seen = timestamp
    -- A past that is made again after its key expired must not be taken for the one before.
    if state.past_rows == 0 then state.epoch = math.max(state.epoch, timestamp) end
  end
  state.newest = math.max(state.newest, timestamp)
  state.first_seen = math.min(state.first_seen, timestamp)
  count(state, keys, plan, math.ceil(timestamp / plan.hop), low, high, first)
  if plan.customers then see(state.customers, customer, timestamp, plan.distinct) end
  if plan.cards and card then see(state.cards, card, timestamp, plan.distinct) end
end

-- `events` is flat: the kind, then offset, timestamp, low and high limb of the amount, customer, card or false,
-- whether the customer was new to the merchant. Offsets ascend.
local EVENT_VALUES = 7

local function absorb_events(state, keys, plan, source, events, counted)
  local place
  for candidate = 1, #state.offsets, 2 do
    if state.offsets[candidate] == source then
      place = candidate
      counted = math.max(counted, state.offsets[candidate + 1])
    end
  end
  local before = counted
  for at = 2, #events, EVENT_VALUES do
    if events[at] > counted then
      counted = events[at]
      absorb_event(
        state, keys, plan, events[at + 1], events[at + 2], events[at + 3], events[at + 4], events[at + 5], events[at + 6]
      )
    end
  end
  if counted == before then return false end
  place = place or #state.offsets + 1
  state.offsets[place], state.offsets[place + 1] = source, counted
  return true
end

local function last_offset(events) return events[#events - EVENT_VALUES + 1] end

local function wait(keys, record)
  local packed = cmsgpack.pack(record)
  if redis.call('EXISTS', keys.head) == 0 then
    redis.call('SET', keys.head, string.char(WAITING))
    redis.call('SADD', keys.waiting, keys.head)
  end
  redis.call('APPEND', keys.head, struct.pack('<I4', #packed) .. packed)
end

-- Applies what waited for the history of a key, in its order. `cut_offs` are per source: what is not above was history.
local function catch_up(state, keys, plan, waiting, cut_off)
  local place = 2
  while place <= #waiting do
    local size = struct.unpack('<I4', waiting, place)
    local record = cmsgpack.unpack(waiting:sub(place + 4, place + 3 + size))
    place = place + 4 + size
    if record[1] == 'events' then
      absorb_events(state, keys, plan, record[2], record[3], cut_off(record[2]))
    else
      mark(state, plan, record[2], record[3], record[4])
    end
  end
  redis.call('SREM', keys.waiting, keys.head)
end

local function cut_offs_of(key)
  local known = {}
  return function(source)
    known[source] = known[source] or tonumber(redis.call('HGET', key, source) or redis.call('HGET', key, OTHERS) or -1)
    return known[source]
  end
end

-- The state of a key in the generation that is current or being built, nil if its history is still to come; and
-- whether it differs from what is stored.
local function open(keys, plan, building, cut_off)
  local value = redis.call('GET', keys.head)
  if value and value:byte() == STATE then return unpack_state(value), false end
  if building and not building[3] then return nil end
  local state = new_state(plan)
  if value then catch_up(state, keys, plan, value, cut_off) end
  return state, value
end

local function advance(key, source, offset)
  if offset > tonumber(redis.call('HGET', key, source) or -1) then redis.call('HSET', key, source, offset) end
end

-- Keys of a call: control; of the current generation, if any, its offsets; of the one being built, if any, its
-- offsets, cut-offs, set of waiting keys and lease; then for each entity head and past in each of the two.
local function layout(keys, control)
  local current, building = control[2], control[3]
  local names, place = {}, 2
  if current then names.current, place = keys[2], 3 end
  if building then
    names.building, names.cut_offs, names.waiting = keys[place], keys[place + 1], keys[place + 2]
    names.lease, place = keys[place + 3], place + 4
  end
  names.first = place
  return names
end

-- The control record that the caller knew, if it is the true one. A rebuild that lost its lease is given up here: what
-- waits for it would grow without end. It finds that out by its next call.
local function known_control(keys, known)
  local view = redis.call('GET', keys[1])
  if view ~= known then return nil, view end
  local control = cmsgpack.unpack(view)
  local names = layout(keys, control)
  if names.lease and redis.call('EXISTS', names.lease) == 0 then
    if not control[2] then
      redis.call('UNLINK', keys[1])
      return nil, false
    end
    view = cmsgpack.pack({control[1], control[2]})
    redis.call('SET', keys[1], view)
    return nil, view
  end
  return control, names
end

-- Calls `change(state, keys, plan, entity, cut_off)` on each entity in each generation; its `records_of` wait where
-- history is still to come. `change` returns whether there is something to write.
local function change_each(keys, control, names, entities, kind_of, records_of, change, skipped)
  local cut_off = control[3] and cut_offs_of(names.cut_offs)
  local place, plans = names.first, {}
  for number, entity in ipairs(entities) do
    for which = 2, 3 do
      local generation = control[which]
      if generation then
        local its = {head = keys[place], past = keys[place + 1], waiting = names.waiting}
        place = place + 2
        local building = which == 3 and generation
        local name = which .. kind_of(entity)
        plans[name] = plans[name] or (generation[2][3][kind_of(entity)] and kind_plan(generation, kind_of(entity)))
        local plan = plans[name]
        if plan and not (building and skipped(entity, cut_off)) then
          local state, caught_up = open(its, plan, building, cut_off)
          if not state then
            for _, record in ipairs(records_of(entity, cut_off)) do wait(its, record) end
          elseif change(state, its, plan, entity, building and cut_off) or caught_up then
            write_state(state, its, plan)
          end
        end
      end
    end
  end
end

-- absorb: ARGV view, then of each entity, packed, each source and its events in turn.
local function absorb(keys, args)
  local control, names = known_control(keys, args[1])
  if not control then return names end
  local entities, last = {}, {}
  for place = 2, #args do
    local entity = cmsgpack.unpack(args[place])
    entities[#entities + 1] = entity
    for at = 1, #entity, 2 do last[entity[at]] = math.max(last[entity[at]] or -1, last_offset(entity[at + 1])) end
  end
  local function records_of(entity, cut_off)
    local records = {}
    for at = 1, #entity, 2 do
      local source, events = entity[at], entity[at + 1]
      if last_offset(events) > cut_off(source) then records[#records + 1] = {'events', source, events} end
    end
    return records
  end
  change_each(
    keys, control, names, entities,
    function(entity) return entity[2][1] end,
    records_of,
    function(state, its, plan, entity, cut_off)
      local changed = false
      for at = 1, #entity, 2 do
        local counted = cut_off and cut_off(entity[at]) or -1
        changed = absorb_events(state, its, plan, entity[at], entity[at + 1], counted) or changed
      end
      return changed
    end,
    function(entity, cut_off) return #records_of(entity, cut_off) == 0 end
  )
  for source, offset in pairs(last) do
    if names.current then advance(names.current, source, offset) end
    if names.building then advance(names.building, source, offset) end
  end
  return 'done'
end

-- mark: ARGV view, identity, timestamp, '1' for fraud or '0', then the kind of each entity.
local function mark_each(keys, args)
  local control, names = known_control(keys, args[1])
  if not control then return names end
  local identity, timestamp, is_fraud, kinds = tonumber(args[2]), tonumber(args[3]), args[4] == '1', {}
  for place = 5, #args do kinds[#kinds + 1] = args[place] end
  change_each(
    keys, control, names, kinds,
    function(kind) return kind end,
    function(_) return {{'mark', identity, timestamp, is_fraud}} end,
    function(state, _, plan)
      local before = state.marks
      mark(state, plan, identity, timestamp, is_fraud)
      return state.marks ~= before
    end,
    function() return false end
  )
  return 'done'
end

-- restore: KEYS control, cut-offs, waiting, then head and past of each entity; ARGV view, then kind, head and past of
-- each entity as history has it. An empty head stands for an entity without history.
local function restore(keys, args)
  local view = redis.call('GET', keys[1])
  if view ~= args[1] then return view end
  local generation, cut_off = cmsgpack.unpack(view)[3], cut_offs_of(keys[2])
  for number = 1, (#args - 1) / 3 do
    local kind, head, past = args[number * 3 - 1], args[number * 3], args[number * 3 + 1]
    local its = {head = keys[2 + number * 2], past = keys[3 + number * 2], waiting = keys[3]}
    local known = redis.call('GET', its.head)
    -- A state there is this one, restored by a call whose answer was lost.
    if not known or known:byte() == WAITING then
      local plan = kind_plan(generation, kind)
      if past ~= '' then redis.call('SET', its.past, past, 'PX', plan.keep) end
      local state = head == '' and new_state(plan) or unpack_state(head)
      if known then catch_up(state, its, plan, known, cut_off) end
      write_state(state, its, plan)
    end
  end
  return 'done'
end

-- begin: KEYS control, cut-offs, offsets and lease of the generation to build, and offsets of the current one if there is
-- any; ARGV view ('' if there is none), the new control, how long the lease holds, then source and offset pairs that are
-- known to be in history.
local function begin(keys, args)
  local view = redis.call('GET', keys[1])
  if (view or '') ~= args[1] then return view or '' end
  local function cut(source, offset)
    advance(keys[2], source, offset)
    advance(keys[3], source, offset)
  end
  if keys[5] then
    local counted = redis.call('HGETALL', keys[5])
    for place = 1, #counted, 2 do cut(counted[place], tonumber(counted[place + 1])) end
  else
    -- What was counted here is lost: sources that nobody writes to any more are history from end to end.
    redis.call('HSET', keys[2], OTHERS, '9007199254740991')
  end
  for place = 4, #args, 2 do
    local offset = tonumber(args[place + 1])
    if not keys[5] and offset < 0 then redis.call('HSET', keys[2], args[place], offset) end
    cut(args[place], offset)
  end
  redis.call('SET', keys[4], '1', 'PX', args[3])
  redis.call('SET', keys[1], args[2])
  return 'done'
end

-- exchange: KEYS control, offsets of the generation being built; ARGV view, the new control ('' for none), then source
-- and offset pairs that were restored from history.
local function exchange(keys, args)
  local view = redis.call('GET', keys[1])
  if (view or '') ~= args[1] then return view or '' end
  for place = 3, #args, 2 do advance(keys[2], args[place], tonumber(args[place + 1])) end
  if args[2] == '' then redis.call('UNLINK', keys[1]) else redis.call('SET', keys[1], args[2]) end
  return 'done'
end

-- swap: KEYS control, waiting, cut-offs, lease; ARGV view, the new control. Refused while anything waits.
local function swap(keys, args)
  local view = redis.call('GET', keys[1])
  if view ~= args[1] then return view end
  if redis.call('SCARD', keys[2]) > 0 then return 'waiting' end
  redis.call('SET', keys[1], args[2])
  redis.call('UNLINK', keys[2], keys[3], keys[4])
  return 'done'
end

-- applied: KEYS a hash; ARGV source, offset. Never goes back.
local function applied(keys, args)
  advance(keys[1], args[1], tonumber(args[2]))
  return 'done'
end

redis.register_function('absorb_@version@', absorb)
redis.register_function('mark_@version@', mark_each)
redis.register_function('restore_@version@', restore)
redis.register_function('begin_@version@', begin)
redis.register_function('exchange_@version@', exchange)
redis.register_function('swap_@version@', swap)
redis.register_function('applied_@version@', applied)
