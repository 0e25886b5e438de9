-- Let large blobs, whose entries follow, vanish in ARGV[1] milliseconds, unless the thread is pinned:
-- until store.lua gives them the thread's deadline, which may be gone by itself by then. They may be
-- there for long, and needed, where a put is done again.

if (coming() or 0) >= 0 then
  for i = 2, #ARGV do give(key_of(ARGV[i]), now() + ARGV[1]) end
end
