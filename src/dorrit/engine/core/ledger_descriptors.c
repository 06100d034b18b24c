#include "ledger.h"

#include "ledger_format.h"

void dorrit_ledger_each_descriptor(const uint8_t *memory, size_t mapped, void (*function)(int))
{
    struct header header;
    memcpy(&header, memory, sizeof header);
    if (header_verdict(&header, mapped) != DORRIT_LEDGER_OK) {
        return;
    }
    for (uint32_t slot = 0; slot < header.records; slot++) {
        struct record record;
        memcpy(&record, memory + record_place(slot), sizeof record);
        if (header.putting == slot + 1) {
            record = header.put;
        }
        if (record.used == slot + 1 && record.descriptor >= 0
            && record.checksum == record_checksum(&record)) {
            function(record.descriptor);
        }
    }
}
