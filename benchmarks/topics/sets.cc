// Sets in both directions, as uWebSockets has them: a map of topics by their names, each with a hash set of its
// subscribers, and with each subscriber an ordered set of its topics.
#include "crowd.h"

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {

struct Topic;

struct Subscriber {
    std::set<Topic *> topics;
};

struct Topic {
    std::string name;
    std::unordered_set<Subscriber *> subscribers;
};

class Topics {
public:
    bool subscribe(Subscriber *subscriber, const std::string &name)
    {
        std::unique_ptr<Topic> &topic = topics_[name];
        if (topic == nullptr) {
            topic = std::make_unique<Topic>();
            topic->name = name;
        }
        subscriber->topics.insert(topic.get());
        return topic->subscribers.insert(subscriber).second;
    }

    bool unsubscribe(Subscriber *subscriber, const std::string &name)
    {
        const auto found = topics_.find(name);
        if (found == topics_.end() || found->second->subscribers.erase(subscriber) == 0) {
            return false;
        }
        subscriber->topics.erase(found->second.get());
        if (found->second->subscribers.empty()) {
            topics_.erase(found);
        }
        return true;
    }

    const Topic *find(const std::string &name) const
    {
        const auto found = topics_.find(name);
        return found == topics_.end() ? nullptr : found->second.get();
    }

    bool empty() const { return topics_.empty(); }

private:
    std::unordered_map<std::string, std::unique_ptr<Topic>> topics_;
};

} // namespace

int main(int count, char **arguments)
{
    if (count != 4) {
        return 2;
    }
    struct crowd crowd = crowd_of(arguments);
    const std::vector<std::string> names(crowd.names, crowd.names + crowd.topics);
    std::vector<std::unique_ptr<Subscriber>> subscribers(crowd.members);
    const size_t before = bytes_in_use();
    double begin = seconds_now();
    Topics topics;
    for (size_t index = 0; index < crowd.length; index++) {
        std::unique_ptr<Subscriber> &subscriber = subscribers[crowd.pairs[index].member];
        if (subscriber == nullptr) {
            subscriber = std::make_unique<Subscriber>();
        }
        if (!topics.subscribe(subscriber.get(), names[crowd.pairs[index].topic])) {
            return 1;
        }
    }
    const double subscribe = seconds_now() - begin;
    const size_t bytes = bytes_in_use() - before;
    size_t visited = 0;
    begin = seconds_now();
    for (const std::string &name : names) {
        const Topic *const topic = topics.find(name);
        if (topic != nullptr) {
            for (const Subscriber *subscriber : topic->subscribers) {
                visited += subscriber != nullptr;
            }
        }
    }
    const double visit = seconds_now() - begin;
    shuffle(&crowd);
    begin = seconds_now();
    for (size_t index = 0; index < crowd.length; index++) {
        if (!topics.unsubscribe(
                subscribers[crowd.pairs[index].member].get(), names[crowd.pairs[index].topic])) {
            return 1;
        }
    }
    print_figures(&crowd, bytes, subscribe, visit, seconds_now() - begin);
    return visited == crowd.length && topics.empty() ? 0 : 1;
}
