/* Blobs: see blob.h. */
#include "blob.h"

#include "atomics.h"
#include "errors.h"
#include "region.h"

#include <stdlib.h>
#include <string.h>

int ferry__inbox_open(ferry__inbox *inbox, uint64_t room, ferry_why *why) {
    memset(inbox, 0, sizeof *inbox);
    inbox->copy = (char *)malloc((size_t)room + 1);
    if (inbox->copy == NULL) return ferry__fail(why, FERRY_ENOMEM, "out of memory");
    inbox->room = room;
    return 0;
}

static void ferry__inbox_unmap(ferry__inbox *inbox) {
    if (inbox->mapped != NULL) ferry__platform_memory_unmap(inbox->mapped, inbox->mapped_bytes);
    inbox->mapped = NULL;
}

int ferry__inbox_take(ferry__inbox *inbox, ferry__channel *channel, const ferry__slot *head, const char *slot_room, ferry_blob *out) {
    ferry__os memory;
    ferry_why why;
    int err;
    if (inbox->mapped != NULL) ferry__inbox_unmap(inbox);
    memset(out, 0, sizeof *out);
    inbox->used = head->blob_format != FERRY_NONE;
    if (!inbox->used) return 0;
    if (head->blob_format > FERRY_VALUES || head->blob_where > FERRY__WHERE_DESCRIPTOR ||
        (head->blob_where == FERRY__WHERE_SLOT && head->blob_bytes > inbox->room))
        return ferry__channel_lose(channel, FERRY_ECORRUPT,
                                   "the region shared with the peer (pid %u) is damaged: a blob has format %d, place %d, %llu bytes",
                                   channel->peer_pid, head->blob_format, head->blob_where, (unsigned long long)head->blob_bytes);
    out->format = head->blob_format, out->size_bytes = head->blob_bytes, out->data = inbox->copy;
    if (head->blob_where == FERRY__WHERE_SLOT) {
        ferry__copy_in(inbox->copy, slot_room, (size_t)head->blob_bytes);
        return 0;
    }
    err = ferry__channel_take_blob(channel, head->blob_bytes, &memory);
    if (err < 0) return err;
    if (head->blob_bytes > 0) err = ferry__platform_memory_map(memory, head->blob_bytes, 0, &inbox->mapped, &why);
    ferry__platform_close(memory);
    if (err < 0) return ferry__channel_lose(channel, why.code, "%s", why.text);
    inbox->mapped_bytes = head->blob_bytes;
    if (inbox->mapped != NULL) out->data = inbox->mapped;
    return 0;
}

void ferry__inbox_close(ferry__inbox *inbox) {
    ferry__inbox_unmap(inbox);
    free(inbox->copy);
    inbox->copy = NULL;
}

int ferry__outbox_put(ferry__outbox *outbox, const ferry_blob *blob, ferry__slot *head, char *slot_room, uint64_t room, ferry_why *why) {
    ferry__outbox_clear(outbox);
    outbox->used = blob->format != FERRY_NONE;
    head->blob_format = FERRY_NONE, head->blob_where = FERRY__WHERE_SLOT, head->blob_bytes = 0;
    if (blob->format == FERRY_NONE) return 0;
    if (blob->format > FERRY_VALUES || (blob->data == NULL && blob->size_bytes > 0))
        return ferry__fail(why, FERRY_EINVAL, "a blob needs data and one of the formats JSON, MSGPACK, TEXT, VALUES (format is %u)",
                           blob->format);
    if (blob->size_bytes > FERRY_MAX_BLOB)
        return ferry__fail(why, FERRY_ETOOBIG,
                           "a blob of %llu bytes: at most %llu can travel with a turn; send less, or write it to a file",
                           (unsigned long long)blob->size_bytes, (unsigned long long)FERRY_MAX_BLOB);
    if (blob->size_bytes > room) {
        if (ferry__region_allowed(blob->size_bytes, FERRY_MAX_BLOB, why) < 0 ||
            ferry__platform_memory_freeze(blob->data, blob->size_bytes, &outbox->memory, why) < 0)
            return why->code;
        outbox->bytes = blob->size_bytes;
        head->blob_where = FERRY__WHERE_DESCRIPTOR;
    } else if (blob->size_bytes > 0) memcpy(slot_room, blob->data, (size_t)blob->size_bytes);
    head->blob_format = (uint8_t)blob->format, head->blob_bytes = blob->size_bytes;
    return 0;
}

void ferry__outbox_send(ferry__outbox *outbox, ferry__channel *channel) {
    ferry__channel_send_blob(channel, outbox->memory, outbox->bytes);
    channel->line->big_blobs++;
    ferry__outbox_clear(outbox);
}

void ferry__outbox_clear(ferry__outbox *outbox) {
    if (outbox->memory != FERRY__NO_OS) ferry__platform_close(outbox->memory);
    outbox->memory = FERRY__NO_OS;
}
